//! `cargo xtask package`: one .deb in `dist/`, the same bytes for the same commit and compiler.

mod depends;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fingerprint::Fingerprint;
use crate::run::Run;
use crate::{apt, build_ebpf, lock, paths};
use tree::Tree;

/// Programs of the workspace and where the package puts them.
const PROGRAMS: [(&str, &str); 10] = [
    ("observastack-gateway", "usr/lib/observastack/bin"),
    ("observastack-api", "usr/lib/observastack/bin"),
    ("observastack-inventory", "usr/lib/observastack/bin"),
    ("observastack-worker", "usr/lib/observastack/bin"),
    ("observastack-collector", "usr/lib/observastack/bin"),
    ("observastack-injector", "usr/lib/observastack/bin"),
    ("observastack-observer", "usr/lib/observastack/bin"),
    ("observastack-controller", "usr/lib/observastack/bin"),
    ("observastack-ctl", "usr/bin"),
    ("observastack-loadgen", "usr/bin"),
];
/// Programs that people use: they have man pages and completions.
const FOR_PEOPLE: [&str; 2] = ["observastack-ctl", "observastack-loadgen"];

/// Shell, and what the file is called that the shell looks for, around the program's name.
const COMPLETIONS: [(&str, &str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/", ""),
    ("zsh", "usr/share/zsh/vendor-completions/_", ""),
    ("fish", "usr/share/fish/vendor_completions.d/", ".fish"),
];

/// Builds everything that goes into it, and the package where any of that has changed. Gives its path back.
pub(crate) fn build() -> Result<PathBuf> {
    apt::ensure(
        "compiling the workspace",
        &["libsystemd-dev", "pkg-config", "cmake", "clang", "dpkg-dev"],
    )?;
    let object = build_ebpf::build()?;
    build_programs(PROGRAMS.map(|(program, _)| program), "build the programs")?;

    let work = paths::target().join("package");
    fs::create_dir_all(&work)?;
    let _lock = lock::take(&work.join(".lock"))?;
    let version = version()?;
    let manifest = paths::root().join("packaging/manifest.txt");
    let tree = assemble(&work, &object)?;
    // First as it is in the repository: the version is no part of the fingerprint, so a commit that changes nothing in the package is no
    // reason to install it again.
    tree.manifest(&manifest, "@VERSION@")?;

    let fingerprint = Fingerprint::default()
        .path(tree.root())?
        .word(&mode_list(&tree))
        .finish();
    let stamp = work.join("fingerprint");
    if let Some((known, name)) = fs::read_to_string(&stamp)
        .unwrap_or_default()
        .split_once('\n')
        && known == fingerprint
        && paths::dist().join(name).is_file()
    {
        let deb = paths::dist().join(name);
        eprintln!("    package is up to date: {}", deb.display());
        return Ok(deb);
    }

    let name = format!("observastack_{}_{}.deb", version.text, architecture()?);
    tree.manifest(&manifest, &version.text)?;
    control_files(&tree, &version)?;
    tree.set_times(version.epoch)?;
    fs::create_dir_all(paths::dist())?;
    let new = work.join(&name);
    Run::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "-z2", "--build"])
        .arg(tree.root())
        .arg(&new)
        .env("SOURCE_DATE_EPOCH", version.epoch.to_string())
        .limit_s(300)
        .step("build the package")?;
    for old in fs::read_dir(paths::dist())?.flatten() {
        let old_name = old.file_name();
        let old_name = old_name.to_string_lossy();
        if old_name.starts_with("observastack_") && old_name.ends_with(".deb") {
            fs::remove_file(old.path())?;
        }
    }
    let deb = paths::dist().join(&name);
    fs::copy(&new, &deb).with_context(|| format!("cannot write {}", deb.display()))?;
    fs::remove_file(&new)?;
    fs::write(&stamp, format!("{fingerprint}\n{name}"))?;
    eprintln!(
        "    package: {} ({} KiB)",
        deb.display(),
        fs::metadata(&deb)?.len() / 1024
    );
    Ok(deb)
}

/// Compiles programs of the workspace with the features that the whole workspace asks for: a build of single packages would compile shared
/// dependencies again with others.
pub(crate) fn build_programs<'a>(
    names: impl IntoIterator<Item = &'a str>,
    label: &str,
) -> Result<()> {
    let programs = names.into_iter().flat_map(|name| ["--bin", name]);
    Run::new("cargo")
        .args(["build", "--release", "--workspace"])
        .args(programs)
        .limit_s(3600)
        .step(label)
        .map(drop)
}

/// Builds one integration test of a crate; where it is.
pub(crate) fn build_test(package: &str, test: &str) -> Result<PathBuf> {
    let messages = Run::new("cargo")
        .args(["test", "--release", "--package", package, "--test", test])
        .args(["--no-run", "--message-format", "json"])
        .limit_s(3600)
        .output()?;
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    built.with_context(|| format!("cargo has built no test `{test}` of {package}"))
}

/// The files of the package as they will be on a machine, without DEBIAN.
pub(crate) fn tree() -> Result<PathBuf> {
    build()?;
    let work = paths::target().join("package");
    let _lock = lock::take(&work.join(".lock"))?;
    let tree = assemble(&work, &paths::bpf_object())?;
    tree.manifest(&paths::root().join("packaging/manifest.txt"), "@VERSION@")?;
    Ok(tree.root().to_owned())
}

/// Version and time of the package, both from the commit.
struct Version {
    text: String,
    epoch: u64,
}

/// `0.1.0+git20261122101530.1a2b3c4`: the commit's time makes later ones sort later. Changes that are not committed show as `.dirty`.
fn version() -> Result<Version> {
    let git = |args: &[&str]| Run::new("git").args(args).limit_s(60).output();
    let epoch = git(&["log", "-1", "--format=%ct"])?
        .parse()
        .context("git gives no commit time")?;
    let time = Run::new("date")
        .args(["--utc", "--date", &format!("@{epoch}"), "+%Y%m%d%H%M%S"])
        .output()?;
    let hash = git(&["rev-parse", "--short=7", "HEAD"])?;
    let dirty = if git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        ""
    } else {
        ".dirty"
    };
    Ok(Version {
        text: format!("{}+git{time}.{hash}{dirty}", env!("CARGO_PKG_VERSION")),
        epoch,
    })
}

fn architecture() -> Result<String> {
    Run::new("dpkg").arg("--print-architecture").output()
}

/// Everything but the files in DEBIAN that carry the version.
fn assemble(work: &Path, object: &Path) -> Result<Tree> {
    let tree = Tree::new(work.join("root"))?;
    for (program, folder) in PROGRAMS {
        tree.copy(
            &paths::release_dir().join(program),
            &format!("{folder}/{program}"),
            0o755,
        )?;
    }
    tree.copy(
        object,
        "usr/lib/observastack/ebpf/observastack.bpf.o",
        0o644,
    )?;
    tree.copy(
        &paths::bpf_observer(),
        "usr/lib/observastack/ebpf/observer.bpf.o",
        0o644,
    )?;

    for (file, mode) in [("scenario.yaml", 0o644), ("sealed.yaml", 0o640)] {
        tree.files_of_folders(
            &paths::root().join("controller/scenarios"),
            "usr/lib/observastack/scenarios",
            file,
            mode,
        )?;
    }

    for program in FOR_PEOPLE {
        manual_and_completions(&tree, work, program)?;
    }
    Ok(tree)
}

/// What a program says of itself, in the forms that `man` and the shells want.
fn manual_and_completions(tree: &Tree, work: &Path, name: &str) -> Result<()> {
    let program = paths::release_dir().join(name);
    let manual = work.join("man");
    fs::remove_dir_all(&manual).ok();
    fs::create_dir_all(&manual)?;
    Run::new(&program)
        .args(["man", "--out"])
        .arg(&manual)
        .limit_s(60)
        .output()?;
    for page in fs::read_dir(&manual)?.flatten() {
        let name = page.file_name().to_string_lossy().into_owned();
        let section = name.rsplit('.').next().unwrap_or("1");
        tree.write(
            &format!("usr/share/man/man{section}/{name}.gz"),
            &fs::read(page.path())?,
            0o644,
        )?;
    }
    for (shell, before, after) in COMPLETIONS {
        let script = Run::new(&program)
            .args(["completions", shell])
            .limit_s(60)
            .output()?;
        let path = format!("{before}{name}{after}");
        tree.write(&path, format!("{script}\n").as_bytes(), 0o644)?;
    }
    Ok(())
}

/// `DEBIAN/`: control file, scripts, checksums.
fn control_files(tree: &Tree, version: &Version) -> Result<()> {
    let templates = paths::root().join("packaging/debian");
    let programs: Vec<PathBuf> = PROGRAMS
        .iter()
        .map(|(program, folder)| tree.root().join(folder).join(program))
        .collect();
    let read = |name: &str| {
        fs::read_to_string(templates.join(name))
            .with_context(|| format!("cannot read packaging/debian/{name}"))
    };
    let control = read("control")?
        .replace("@VERSION@", &version.text)
        .replace("@ARCH@", &architecture()?)
        .replace("@DEPENDS@", &depends::of(&programs)?);
    tree.write("DEBIAN/md5sums", tree.checksums()?.as_bytes(), 0o644)?;
    let control = format!(
        "{}\nInstalled-Size: {}\n",
        control.trim_end(),
        tree.installed_kib()?
    );
    tree.write("DEBIAN/control", control.as_bytes(), 0o644)?;
    for (name, mode) in [
        ("conffiles", 0o644),
        ("preinst", 0o755),
        ("postinst", 0o755),
        ("prerm", 0o755),
        ("postrm", 0o755),
    ] {
        if templates.join(name).exists() {
            tree.write(&format!("DEBIAN/{name}"), read(name)?.as_bytes(), mode)?;
        }
    }
    Ok(())
}

/// What decides about the package and is not in the tree yet: modes and the templates.
fn mode_list(tree: &Tree) -> String {
    let templates = paths::root().join("packaging/debian");
    let scripts = Fingerprint::default()
        .path(&templates)
        .map(Fingerprint::finish)
        .unwrap_or_default();
    format!("{} {scripts}", tree.modes().unwrap_or_default())
}

//! What compiles the eBPF programs: a Rust compiler with core's sources, and a `bpf-linker` whose LLVM is not older than the compiler's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{self, Run};
use crate::{apt, lock, paths};

const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions that this linker can be built with.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;
/// Older compilers lack what aya-ebpf needs (edition 2024 and newer core items).
const OLDEST_RUSTC: (u32, u32) = (1, 92);

/// A compiler that can build core for the BPF target.
pub(crate) struct Toolchain {
    /// The compiler, called by its path so that no proxy chooses another.
    pub(crate) rustc: PathBuf,
    /// The cargo of the same release.
    pub(crate) cargo: PathBuf,
    /// For people and for the fingerprint: `rustc 1.96.0 (LLVM 22.1.8)`.
    pub(crate) name: String,
    llvm: u32,
}

/// Its name, and what finds its compilers.
type Way = (&'static str, fn() -> Result<Vec<Toolchain>>);

/// A linker that fits the compiler.
pub(crate) struct Linker {
    /// The program.
    pub(crate) path: PathBuf,
    /// For people and for the fingerprint.
    pub(crate) name: String,
}

/// The first that is there, in this order: a toolchain with core's sources, Debian's packages, rustup's component.
pub(crate) fn find() -> Result<(Toolchain, Linker)> {
    let mut refused = Vec::new();
    let ways: [Way; 3] = [
        ("a toolchain with rust-src", installed),
        ("Debian's rustc-web", from_debian),
        ("rustup component add rust-src", from_rustup),
    ];
    for (way, find) in ways {
        match find() {
            Ok(toolchains) => {
                for toolchain in toolchains {
                    match linker_for(&toolchain) {
                        Ok(linker) => return Ok((toolchain, linker)),
                        Err(error) => refused.push(format!("{way}: {}: {error:#}", toolchain.name)),
                    }
                }
            }
            Err(error) => refused.push(format!("{way}: {error:#}")),
        }
    }
    bail!(
        "nothing here compiles eBPF programs. What was tried:\n  - {}\nDo one of these and try again:\n  \
         - Debian or Ubuntu with a recent rustc-web: sudo apt-get install rustc-web cargo-web rust-web-src llvm-22-dev libclang-22-dev libpolly-22-dev zlib1g-dev libzstd-dev\n  \
         - rustup: rustup component add rust-src, and a bpf-linker {LINKER_VERSION} on the path that is linked with this compiler's LLVM or a newer one",
        refused.join("\n  - ")
    )
}

/// Compilers that are here and have core's sources: the one in use first, then rustup's others, then the distribution's.
fn installed() -> Result<Vec<Toolchain>> {
    let mut compilers: Vec<PathBuf> = vec!["rustc".into()];
    if run::has_program("rustup") {
        let names = Run::new("rustup")
            .args(["toolchain", "list", "--quiet"])
            .unset("RUSTUP_TOOLCHAIN")
            .limit_s(60)
            .output()
            .unwrap_or_default();
        for name in names
            .lines()
            .filter_map(|line| line.split_whitespace().next())
        {
            let which = Run::new("rustup")
                .args(["which", "rustc", "--toolchain", name])
                .limit_s(60)
                .output();
            compilers.extend(which.ok().map(PathBuf::from));
        }
    }
    compilers.push("/usr/bin/rustc".into());
    let mut found: Vec<Toolchain> = Vec::new();
    for compiler in compilers {
        if let Ok(toolchain) = examine(&compiler)
            && found.iter().all(|known| known.rustc != toolchain.rustc)
        {
            found.push(toolchain);
        }
    }
    if found.is_empty() {
        bail!("none is installed");
    }
    // Where several would do, the one whose linker is already here saves a build.
    found.sort_by_key(|toolchain| existing_linker(toolchain).is_none());
    Ok(found)
}

fn from_debian() -> Result<Vec<Toolchain>> {
    let recent = |version: &str| two_numbers(version).is_some_and(|found| found >= OLDEST_RUSTC);
    // Package lists from before a security update know only the release's own, older compiler.
    if !apt::candidate("rustc-web").is_some_and(|version| recent(&version)) {
        apt::update();
    }
    let version =
        apt::candidate("rustc-web").context("this distribution has no package rustc-web")?;
    if !recent(&version) {
        bail!(
            "rustc-web {version} is older than {}.{}",
            OLDEST_RUSTC.0,
            OLDEST_RUSTC.1
        );
    }
    apt::ensure(
        "compiling the eBPF programs",
        &["rustc-web", "cargo-web", "rust-web-src"],
    )?;
    Ok(vec![examine(Path::new("/usr/bin/rustc"))?])
}

fn from_rustup() -> Result<Vec<Toolchain>> {
    if !run::has_program("rustup") {
        bail!("rustup is not installed");
    }
    Run::new("rustup")
        .args(["component", "add", "rust-src"])
        .limit_s(300)
        .step("rustup component add rust-src")?;
    Ok(vec![examine(Path::new("rustc"))?])
}

/// Reads what a compiler says about itself; an error when core's sources are not beside it.
fn examine(rustc: &Path) -> Result<Toolchain> {
    let ask = |arg: &[&str]| {
        Run::new(rustc)
            .args(arg)
            .unset("LD_LIBRARY_PATH")
            .limit_s(60)
            .output()
    };
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
    if !sysroot
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .is_file()
    {
        bail!("{} has no sources of core", rustc.display());
    }
    let verbose = ask(&["-vV"])?;
    let field = |name: &str| {
        verbose
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .with_context(|| format!("{} -vV has no {name}", rustc.display()))
    };
    let (release, llvm) = (field("release:")?, field("LLVM version:")?);
    if two_numbers(release).is_none_or(|version| version < OLDEST_RUSTC) {
        bail!(
            "rustc {release} is older than {}.{}",
            OLDEST_RUSTC.0,
            OLDEST_RUSTC.1
        );
    }
    let bin = sysroot.join("bin");
    Ok(Toolchain {
        rustc: bin.join("rustc"),
        cargo: bin.join("cargo"),
        name: format!("rustc {release} (LLVM {llvm})"),
        llvm: two_numbers(llvm)
            .context("LLVM's version has no numbers")?
            .0,
    })
}

fn two_numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn linker_for(toolchain: &Toolchain) -> Result<Linker> {
    if let Some(linker) = existing_linker(toolchain) {
        return Ok(linker);
    }
    build_linker(toolchain)?;
    existing_linker(toolchain).with_context(|| {
        format!(
            "the bpf-linker just built does not show an LLVM of {} or newer",
            toolchain.llvm
        )
    })
}

/// Our own linker or one on the path. One whose LLVM cannot be told (linked statically) is passed over: a linker with an older LLVM than
/// the compiler's reads its bitcode wrongly, or not at all.
fn existing_linker(toolchain: &Toolchain) -> Option<Linker> {
    let own = paths::tools().ok()?.join("bin/bpf-linker");
    let candidates = [
        own.is_file().then_some(own),
        run::find_program("bpf-linker"),
    ];
    candidates.into_iter().flatten().find_map(|path| {
        let llvm = linked_llvm(&path)?;
        let version = Run::new(&path).arg("--version").limit_s(30).output().ok()?;
        (llvm >= toolchain.llvm).then(|| Linker {
            path,
            name: format!("{version} (LLVM {llvm})"),
        })
    })
}

fn linked_llvm(linker: &Path) -> Option<u32> {
    let libraries = Run::new("ldd").arg(linker).limit_s(30).output().ok()?;
    let library = libraries
        .lines()
        .find_map(|line| line.trim().strip_prefix("libLLVM"))?;
    library
        .split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())?
        .parse()
        .ok()
}

fn build_linker(toolchain: &Toolchain) -> Result<()> {
    let is_there = |llvm: u32| Path::new(&format!("/usr/lib/llvm-{llvm}/bin/llvm-config")).exists();
    let wanted = *LINKER_LLVM.start().max(&toolchain.llvm)..=*LINKER_LLVM.end();
    let in_apt = || {
        wanted
            .clone()
            .find(|llvm| apt::is_available(&format!("llvm-{llvm}-dev")))
    };
    let llvm = wanted
        .clone()
        .find(|llvm| is_there(*llvm))
        .or_else(in_apt)
        .or_else(|| {
            apt::update();
            in_apt()
        })
        .with_context(|| format!("neither this machine nor apt has an LLVM between {} and {} to build bpf-linker with", wanted.start(), wanted.end()))?;
    let packages = [
        format!("llvm-{llvm}-dev"),
        format!("libclang-{llvm}-dev"),
        format!("libpolly-{llvm}-dev"),
        "zlib1g-dev".into(),
        "libzstd-dev".into(),
    ];
    apt::ensure(
        "building bpf-linker",
        &packages.each_ref().map(String::as_str),
    )?;

    let tools = paths::tools()?;
    let _lock = lock::take(&tools.join(".lock"))?;
    let prefix = format!("/usr/lib/llvm-{llvm}");
    let path = std::env::join_paths(std::iter::once(PathBuf::from(&prefix).join("bin")).chain(
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()),
    ))?;
    let build_dir = tools.join("build");
    let done = Run::new("cargo")
        .args([
            "install",
            &format!("bpf-linker@{LINKER_VERSION}"),
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
            "--force",
            "--root",
        ])
        .arg(&tools)
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", path)
        .env("RUSTFLAGS", format!("-L{prefix}/lib"))
        .env("CARGO_TARGET_DIR", &build_dir)
        .dir(&tools)
        .limit_s(1200)
        .step(&format!(
            "build bpf-linker {LINKER_VERSION} with LLVM {llvm}"
        ));
    fs::remove_dir_all(&build_dir).ok();
    done.map(drop)
}

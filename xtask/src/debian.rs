//! Debian 13 in a folder: made once with debootstrap, kept in the cache, and copied for whatever needs a Debian of its own (the lab's machine,
//! QEMU and the kernels for the kernel tests). The host's own packages and version don't matter then.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fingerprint::{self, Fingerprint};
use crate::run::Run;
use crate::{apt, lock, paths};

/// The release that the lab's machines run.
pub(crate) const SUITE: &str = "trixie";

/// A folder with a Debian in it, owned by root.
pub(crate) struct Rootfs {
    /// Where it is on this machine.
    pub(crate) path: PathBuf,
}

/// What goes into an image beyond Debian's smallest installation.
pub(crate) struct Recipe<'a> {
    /// The folder's name in the cache.
    pub(crate) name: &'static str,
    /// What it is, for the progress line.
    pub(crate) what: &'static str,
    /// Debian packages.
    pub(crate) packages: &'a [&'static str],
    /// A shell script run inside before the packages are installed.
    pub(crate) before: &'static str,
    /// A shell script run inside after them.
    pub(crate) after: &'a str,
}

/// The image of a recipe, from the cache where the recipe hasn't changed.
pub(crate) fn image(recipe: &Recipe<'_>) -> Result<Rootfs> {
    let dir = images()?;
    let path = dir.join(recipe.name);
    let fingerprint = Fingerprint::default()
        .word(SUITE)
        .word(&recipe.packages.join(" "))
        .word(recipe.before)
        .word(recipe.after)
        .finish();
    if fingerprint::is_current(&path, &fingerprint) {
        return Ok(Rootfs { path });
    }
    let _lock = lock::take(&dir.join(format!(".{}.lock", recipe.name)))?;
    if fingerprint::is_current(&path, &fingerprint) {
        return Ok(Rootfs { path });
    }
    let smallest = smallest(&dir)?;
    let new = Rootfs {
        path: dir.join(format!("{}.new", recipe.name)),
    };
    copy(
        &smallest.path,
        &new.path,
        &format!("copy the image for {}", recipe.what),
    )?;
    new.install(recipe)?;
    remove(&path)?;
    Run::root("mv").arg(&new.path).arg(&path).output()?;
    fingerprint::note(&path, &fingerprint)?;
    Ok(Rootfs { path })
}

/// Where the images are.
pub(crate) fn images() -> Result<PathBuf> {
    let dir = paths::cache()?.join("images");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Copies a folder with owners and all, sharing blocks where the file system can. A half-made copy from before is replaced.
pub(crate) fn copy(from: &Path, to: &Path, label: &str) -> Result<()> {
    remove(to)?;
    Run::root("cp")
        .args(["-a", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .limit_s(300)
        .step(label)
        .map(drop)
}

/// Removes a folder that root owns, and only that file system: something still mounted below it stays whole.
pub(crate) fn remove(path: &Path) -> Result<()> {
    Run::root("rm")
        .args(["-rf", "--one-file-system"])
        .arg(path)
        .limit_s(300)
        .output()
        .map(drop)
}

/// Debian's smallest installation, as debootstrap makes it from its own default mirror (or the proxy in the environment).
fn smallest(images: &Path) -> Result<Rootfs> {
    let path = images.join(SUITE);
    let _lock = lock::take(&images.join(".debootstrap.lock"))?;
    if path.exists() {
        return Ok(Rootfs { path });
    }
    apt::ensure(
        "making a Debian image",
        &["debootstrap", "debian-archive-keyring"],
    )?;
    let new = images.join(format!("{SUITE}.new"));
    remove(&new)?;
    Run::root("debootstrap")
        .args(["--variant=minbase", "--include=ca-certificates", SUITE])
        .arg(&new)
        .limit_s(1200)
        .step(&format!("debootstrap Debian {SUITE}"))?;
    Run::root("mv").arg(&new).arg(&path).output()?;
    Ok(Rootfs { path })
}

impl Rootfs {
    /// A command inside, as root, with /proc, /sys and the host's /dev; `binds` shows folders of the host at paths inside (made when
    /// missing). The mounts are private to the command and go with it.
    pub(crate) fn command(&self, binds: &[(&Path, &str)], program: &str) -> Run {
        let mut script = String::from(
            r#"set -e; root=$1; shift; mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys"; mount --rbind /dev "$root/dev"; "#,
        );
        script.push_str(r#"while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --bind "$1" "$root$2"; shift 2; done; shift; exec chroot "$root" "$@""#);
        let mut run = Run::root("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg(script)
            .arg("in-image")
            .arg(&self.path);
        for (host, inside) in binds {
            run = run.arg(host).arg(inside);
        }
        run.arg("--")
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// A command inside, with another folder's files laid over the image's. Read-only, so both stay as they are.
    pub(crate) fn overlaid(&self, over: &Path, program: &str) -> Run {
        let script = r#"set -e; merged=$(mktemp -d); trap 'umount -l "$merged"; rmdir "$merged"' EXIT
            mount -t overlay overlay -o "lowerdir=$2:$1" "$merged"; shift 2
            mount -t proc proc "$merged/proc"; mount -t tmpfs tmpfs "$merged/run"; mount -t tmpfs tmpfs "$merged/tmp"
            chroot "$merged" "$@""#;
        Run::root("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg(script)
            .arg("in-image")
            .arg(&self.path)
            .arg(over)
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
    }

    /// Writes a file inside.
    pub(crate) fn write(&self, path: &str, mode: &str, content: &str) -> Result<()> {
        let file = self.path.join(path.trim_start_matches('/'));
        Run::root("install")
            .args(["-D", "-m", mode, "/dev/stdin"])
            .arg(&file)
            .input(content)
            .output()
            .map(drop)
    }

    /// The host's name servers and apt proxy. A resolver on the host's loopback address cannot be reached from inside a machine: then the
    /// servers behind it are taken.
    pub(crate) fn use_host_network_settings(&self) -> Result<()> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut servers = read("/etc/resolv.conf");
        if servers
            .lines()
            .any(|line| line.starts_with("nameserver 127.") || line.starts_with("nameserver ::1"))
        {
            let behind = read("/run/systemd/resolve/resolv.conf");
            if !behind.is_empty() {
                servers = behind;
            }
        }
        Run::root("rm")
            .arg("-f")
            .arg(self.path.join("etc/resolv.conf"))
            .output()?;
        self.write("/etc/resolv.conf", "644", &servers)?;
        let settings = Run::new("apt-config")
            .arg("dump")
            .limit_s(60)
            .output()
            .unwrap_or_default();
        let kept: Vec<&str> = settings
            .lines()
            .filter(|line| {
                [
                    "Acquire::http::Proxy",
                    "Acquire::https::Proxy",
                    "Acquire::Check-",
                ]
                .iter()
                .any(|name| line.starts_with(name))
            })
            .collect();
        self.write(
            "/etc/apt/apt.conf.d/90host",
            "644",
            &format!("{}\n", kept.join("\n")),
        )
    }

    fn install(&self, recipe: &Recipe<'_>) -> Result<()> {
        self.use_host_network_settings()?;
        // No service starts while packages are installed in a folder.
        self.write("/usr/sbin/policy-rc.d", "755", "#!/bin/sh\nexit 101\n")?;
        let script = format!(
            "set -e
{}
apt-get update
apt-get install -y --no-install-recommends {}
apt-get clean
{}
rm -f /usr/sbin/policy-rc.d
",
            recipe.before,
            recipe.packages.join(" "),
            recipe.after
        );
        let label = format!("install packages for {}", recipe.what);
        self.command(&[], "sh")
            .args(["-c", &script])
            .limit_s(1200)
            .step(&label)
            .map(drop)
    }
}

//! Debian's stock kernels for the kernel tests: downloaded once by apt, with its signatures, from the archive that debootstrap chose.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::{self, Rootfs};
use crate::run::Run;
use crate::{guest_tools, lock, paths};

/// A kernel series that the lab supports and is tested on.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Series {
    /// Debian 13's kernel.
    #[value(name = "6.12")]
    V6_12,
    /// Debian 12's kernel, the oldest that the lab takes.
    #[value(name = "6.1")]
    V6_1,
}

impl Series {
    /// Every series, newest first.
    pub(crate) const ALL: [Self; 2] = [Self::V6_12, Self::V6_1];

    /// As the tests and the command line name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_12 => "6.12",
            Self::V6_1 => "6.1",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V6_12 => "trixie",
            Self::V6_1 => "bookworm",
        }
    }
}

/// A kernel's files.
pub(crate) struct Kernel {
    /// What QEMU boots.
    pub(crate) image: PathBuf,
    modules: PathBuf,
}

/// The kernel of a series, from the cache once it is there.
pub(crate) fn get(series: Series, tools: &Rootfs) -> Result<Kernel> {
    let dir = paths::cache()?.join("kernels").join(series.name());
    let _lock = lock::take(&dir.with_extension("lock"))?;
    if let Ok(kernel) = open(&dir) {
        return Ok(kernel);
    }
    let new = dir.with_extension("new");
    fs::remove_dir_all(&new).ok();
    fs::create_dir_all(&new)?;
    download(series, tools, &new)?;
    fs::remove_dir_all(&dir).ok();
    fs::rename(&new, &dir)?;
    open(&dir)
}

fn open(dir: &Path) -> Result<Kernel> {
    let entries = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .collect())
    };
    let image = entries(&dir.join("boot"))?
        .into_iter()
        .find(|file| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .context("no kernel image in the package")?;
    let modules = entries(&dir.join("lib/modules"))?
        .pop()
        .context("no modules in the package")?;
    Ok(Kernel { image, modules })
}

/// Downloads with an apt configuration of its own: the suite's name is all that differs from the image's own archive.
fn download(series: Series, tools: &Rootfs, into: &Path) -> Result<()> {
    let script = r#"
        set -eu
        suite=$1
        work=/var/cache/kernels; rm -rf "$work"; mkdir -p "$work/lists/partial" "$work/archives/partial"
        cd "$work"
        sed "s/trixie/$suite/g" /etc/apt/sources.list > sources.list
        apt="-o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$work/lists -o Dir::Cache=$work -o APT::Sandbox::User=root"
        apt-get $apt update
        package=$(apt-cache $apt depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
        apt-get $apt download "$package"
        dpkg-deb -x "$package"_*.deb unpacked
        if [ -d unpacked/usr/lib/modules ]; then mkdir -p unpacked/lib; mv unpacked/usr/lib/modules unpacked/lib/modules; fi
        release=$(ls unpacked/lib/modules)
        depmod -b unpacked "$release"
        find unpacked/lib/modules -name '*.xz' -exec unxz {} +
        sed -i 's/\.ko\.xz/.ko/g' unpacked/lib/modules/"$release"/modules.dep
        chmod -R a+rX unpacked
        cp -a unpacked/boot unpacked/lib /out/
        rm -rf "$work"
    "#;
    tools
        .command(&[(into, "/out")], "sh")
        .args(["-c", script, "sh", series.suite()])
        .limit_s(600)
        .step(&format!("get Debian's kernel {}", series.name()))?;
    let owner = Run::new("id").arg("-u").output()?;
    Run::root("chown")
        .args(["-R", &owner])
        .arg(into)
        .output()
        .map(drop)
}

/// The image for QEMU and the tools around it, those for the guests included.
pub(crate) fn tools() -> Result<Rootfs> {
    let own = ["qemu-system-x86", "busybox-static", "kmod", "xz-utils"];
    let packages: Vec<&'static str> = own.into_iter().chain(guest_tools::PACKAGES).collect();
    debian::image(&debian::Recipe {
        name: "qemu",
        what: "QEMU",
        packages: &packages,
        before: "",
        after: "",
    })
}

impl Kernel {
    /// Puts the kernel into a root file system beside its own, with an initial RAM disk for machines that boot from a virtual disk, and
    /// copies what QEMU needs to a folder: `vmlinuz-SERIES` and `initrd-SERIES`.
    pub(crate) fn install_into(&self, root: &Rootfs, series: Series, boot: &Path) -> Result<()> {
        let unpacked = self
            .image
            .ancestors()
            .nth(2)
            .context("a kernel image outside its package")?;
        let script = r#"
            set -e
            cp -a /run/kernel/boot/. /boot/
            cp -a /run/kernel/lib/modules/. /usr/lib/modules/
            release=$(ls /run/kernel/lib/modules)
            depmod "$release"
            update-initramfs -c -k "$release"
            cp "/boot/vmlinuz-$release" "/run/machine/vmlinuz-$1"
            cp "/boot/initrd.img-$release" "/run/machine/initrd-$1"
        "#;
        root.command(&[(unpacked, "/run/kernel"), (boot, "/run/machine")], "sh")
            .args(["-c", script, "sh", series.name()])
            .limit_s(300)
            .step(&format!("put kernel {} into the VM's image", series.name()))
            .map(drop)
    }

    /// Files of these modules and of what they need, in the order in which they have to be loaded. What is built into the kernel is left out.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let read = |file: &str| {
            fs::read_to_string(self.modules.join(file))
                .with_context(|| format!("cannot read {file} of {}", self.modules.display()))
        };
        let (dependencies, built_in) = (read("modules.dep")?, read("modules.builtin")?);
        let stem = |path: &str| {
            path.rsplit('/')
                .next()
                .unwrap_or(path)
                .trim_end_matches(".ko")
                .replace('-', "_")
        };
        let mut order: Vec<PathBuf> = Vec::new();
        for name in names {
            let wanted = name.replace('-', "_");
            if built_in.lines().any(|path| stem(path) == wanted) {
                continue;
            }
            let Some((module, needs)) = dependencies
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(module, _)| stem(module) == wanted)
            else {
                bail!(
                    "the kernel in {} has no module {name}, neither built in nor as a file",
                    self.modules.display()
                );
            };
            // modules.dep names what has to be there last to first.
            for path in needs.split_whitespace().rev().chain([module]) {
                let path = self.modules.join(path);
                if !order.contains(&path) {
                    order.push(path);
                }
            }
        }
        Ok(order)
    }
}

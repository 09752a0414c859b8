//! QEMU from the tools image: the same version on every host. KVM is used where a guest really boots with it.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::debian::Rootfs;
use crate::initramfs::Initramfs;
use crate::kernels::Kernel;
use crate::paths;
use crate::run::{Ended, Run};

/// What executes the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor's own virtualization.
    Kvm,
    /// QEMU's software emulation, several times slower.
    Emulation,
}

impl Accelerator {
    /// QEMU's arguments.
    pub(crate) fn args(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "max"],
            // Without cx16: some QEMU versions crash a 6.12 guest on cmpxchg16b.
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "max,-cx16"],
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulation => "software emulation",
        }
    }
}

/// A guest that boots from a kernel and an initramfs and talks on its serial port.
pub(crate) struct Guest<'a> {
    /// The image that has QEMU.
    pub(crate) tools: &'a Rootfs,
    /// The kernel.
    pub(crate) kernel: &'a Kernel,
    /// The finished archive.
    pub(crate) initramfs: &'a Path,
    /// Added to the kernel's command line.
    pub(crate) append: &'a str,
    /// KVM or not.
    pub(crate) accelerator: Accelerator,
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// It is stopped after this time.
    pub(crate) limit_s: u64,
}

impl Guest<'_> {
    /// Boots it, hands over every line of the serial port, and comes back when it has powered off.
    pub(crate) fn boot(&self, each: impl FnMut(&str)) -> Result<Ended> {
        let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
        let inside = |folder: &str, path: &Path| {
            format!(
                "{folder}/{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            )
        };
        let (kernel_dir, initramfs_dir) = (parent(&self.kernel.image), parent(self.initramfs));
        self.tools
            .command(
                &[
                    (&kernel_dir, "/run/qemu/kernel"),
                    (&initramfs_dir, "/run/qemu/initramfs"),
                ],
                "qemu-system-x86_64",
            )
            .args(self.accelerator.args())
            .args([
                "-smp",
                &self.cpus.to_string(),
                "-m",
                &self.memory_mib.to_string(),
                "-nographic",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .args(["-device", "virtio-rng-pci"])
            .args([
                "-kernel",
                &inside("/run/qemu/kernel", &self.kernel.image),
                "-initrd",
                &inside("/run/qemu/initramfs", self.initramfs),
            ])
            .args([
                "-append",
                &format!("console=ttyS0 panic=-1 {}", self.append),
            ])
            .limit_s(self.limit_s)
            .stream(each)
    }
}

/// KVM where the device is there and a guest boots with it within a time limit. The answer is kept until the host's kernel changes: a device
/// that is there and hangs costs its time once.
pub(crate) fn accelerator(tools: &Rootfs, kernel: &Kernel) -> Result<Accelerator> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Emulation);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let answer = paths::cache()?.join(format!("kvm-{}", release.trim()));
    if let Ok(known) = fs::read_to_string(&answer) {
        return Ok(if known == "works" {
            Accelerator::Kvm
        } else {
            Accelerator::Emulation
        });
    }
    let works = boots_with_kvm(tools, kernel)?;
    fs::write(&answer, if works { "works" } else { "hangs or fails" })?;
    Ok(if works {
        Accelerator::Kvm
    } else {
        Accelerator::Emulation
    })
}

fn boots_with_kvm(tools: &Rootfs, kernel: &Kernel) -> Result<bool> {
    let mut archive = Initramfs::default();
    archive.copy(&tools.path.join("usr/bin/busybox"), "/bin/busybox", true)?;
    archive.folder("/dev");
    archive.file("/init", b"#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\necho guest: alive > /dev/console\n/bin/busybox poweroff -f\n", true);
    let dir = paths::target().join("xtask/kvm-probe");
    fs::create_dir_all(&dir)?;
    let file = dir.join("initramfs.cpio");
    fs::write(&file, archive.finish())?;
    let guest = Guest {
        tools,
        kernel,
        initramfs: &file,
        append: "quiet",
        accelerator: Accelerator::Kvm,
        cpus: 1,
        memory_mib: 256,
        limit_s: 30,
    };
    eprintln!(
        "    /dev/kvm is there: seeing whether a guest boots with it (at most {} s)",
        guest.limit_s
    );
    let mut alive = false;
    let ended = guest.boot(|line| alive |= line.contains("guest: alive"));
    let works = alive && ended.is_ok();
    eprintln!(
        "    KVM {}",
        if works {
            "works"
        } else {
            "does not work here: software emulation it is"
        }
    );
    Ok(works)
}

/// A run of QEMU with arguments of the caller's own, for machines that stay up.
pub(crate) fn command(tools: &Rootfs, binds: &[(&Path, &str)], accelerator: Accelerator) -> Run {
    tools
        .command(binds, "qemu-system-x86_64")
        .args(accelerator.args())
}

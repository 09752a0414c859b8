//! A machine under QEMU: Debian's own kernel, so that everything a fault may need is there; slow where it has to be emulated.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Kind, Name, State, find_process, image, prepare, stop_process};
use crate::debian::{self, Rootfs};
use crate::kernels::{self, Series};
use crate::qemu::{self, Accelerator};
use crate::run::Run;
use crate::{apt, paths};

/// The guest's size.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
}

const NETWORK: &str = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n";

fn console_log(name: Name) -> PathBuf {
    paths::logs().join(format!("machine-{}.log", name.text()))
}

/// Makes the disk where there is none, boots, and waits for ssh. `prepare_root` is the last to change the root file system before it becomes a disk,
/// at the host's speed.
pub(crate) fn start(
    name: Name,
    size: Size,
    prepare_root: impl FnOnce(&Rootfs) -> Result<()>,
) -> Result<State> {
    if let Some(state) = State::load(name)?
        && is_running(name)
    {
        eprintln!("    the machine runs already");
        state.wait_for_ssh(name, Duration::from_secs(60), || still_running(name))?;
        return Ok(state);
    }
    if !apt::can_be_root() {
        bail!(
            "making the VM's disk needs root: run this as root, or as a user that may use sudo without a password"
        );
    }
    prepare(name)?;
    let tools = kernels::tools()?;
    let accelerator = qemu::accelerator(&tools, &kernels::get(Series::V6_12, &tools)?)?;
    let state = match State::load(name)? {
        Some(state) if is_free(state.port) => state,
        _ => {
            let port = free_port(2222)?;
            State {
                kind: Kind::Vm,
                user: "root".into(),
                address: "127.0.0.1".into(),
                port,
                shop: format!("http://127.0.0.1:{}", free_port(8000)?),
            }
        }
    };
    let dir = name.root_dir();
    if !dir.join("disk.img").exists() {
        make_disk(name, &tools, &dir, prepare_root)?;
    }
    // The host key stays, the port may have changed.
    let known = name.state_dir().join("known_hosts");
    let key: Vec<String> = fs::read_to_string(&known)?
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect();
    fs::write(
        &known,
        format!("[127.0.0.1]:{} {}\n", state.port, key.join(" ")),
    )?;
    state.save(name)?;

    fs::create_dir_all(paths::logs())?;
    let machine = Machine {
        name,
        dir: &dir,
        accelerator,
        size,
    };
    boot(&machine, &tools, &state, None)?;
    Ok(state)
}

/// Shuts a machine down in good order and boots it with another kernel, which [`Kernel::install_into`](kernels::Kernel::install_into)
/// has put into its disk.
pub(crate) fn boot_with(name: Name, size: Size, state: &State, kernel: Series) -> Result<()> {
    let tools = kernels::tools()?;
    let accelerator = qemu::accelerator(&tools, &kernels::get(kernel, &tools)?)?;
    state.ssh(name, "systemctl poweroff").limit_s(60).status()?;
    let began = Instant::now();
    while is_running(name) {
        if began.elapsed() > Duration::from_secs(180) {
            bail!("the VM does not power off");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let machine = Machine {
        name,
        dir: &name.root_dir(),
        accelerator,
        size,
    };
    boot(&machine, &tools, state, Some(kernel))
}

struct Machine<'a> {
    name: Name,
    dir: &'a Path,
    accelerator: Accelerator,
    size: Size,
}

fn boot(
    machine: &Machine<'_>,
    tools: &Rootfs,
    state: &State,
    kernel: Option<Series>,
) -> Result<()> {
    let Machine {
        name, accelerator, ..
    } = *machine;
    let shop_port = state
        .shop
        .rsplit(':')
        .next()
        .context("the shop's address has no port")?;
    let mut child =
        command(machine, tools, kernel, state.port, shop_port).spawn(&console_log(name))?;
    // Emulated, sshd answers after a minute on a machine that has nothing else to do.
    let limit = Duration::from_secs(if accelerator == Accelerator::Kvm {
        120
    } else {
        600
    });
    state.wait_for_ssh(name, limit, || {
        // At first the child is still on its way to becoming QEMU.
        if child.try_wait()?.is_none() {
            Ok(())
        } else {
            still_running(name)
        }
    })
}

fn make_disk(
    name: Name,
    tools: &Rootfs,
    dir: &Path,
    prepare_root: impl FnOnce(&Rootfs) -> Result<()>,
) -> Result<()> {
    let base = image::vm()?;
    let root = Rootfs {
        path: dir.join("root"),
    };
    debian::copy(&base.path, &root.path, "copy the VM's image")?;
    // The port is put in when it is known.
    image::personalize(&root, name, NETWORK, "unknown")?;
    root.write(
        "/etc/fstab",
        "644",
        "/dev/vda / ext4 errors=remount-ro 0 1\n",
    )?;
    prepare_root(&root)?;
    let script = "set -e; cp /machine/root/vmlinuz /machine/vmlinuz; cp /machine/root/initrd.img /machine/initrd; \
                  mke2fs -q -F -t ext4 -d /machine/root /machine/disk.new 8G; mv /machine/disk.new /machine/disk.img; rm -rf /machine/root";
    tools
        .command(&[(dir, "/machine")], "sh")
        .args(["-c", script])
        .limit_s(600)
        .step("make the VM's disk")
        .map(drop)
}

fn command(
    machine: &Machine<'_>,
    tools: &Rootfs,
    kernel: Option<Series>,
    ssh_port: u16,
    shop_port: &str,
) -> Run {
    let Machine {
        name,
        dir,
        accelerator,
        size,
    } = *machine;
    let of = kernel.map_or_else(String::new, |kernel| format!("-{}", kernel.name()));
    qemu::command(tools, &[(dir, "/machine")], accelerator)
        .args(["-name", &name.machine(), "-display", "none", "-serial", "stdio", "-monitor", "none"])
        .args(["-smp", &size.cpus.to_string(), "-m", &size.memory_mib.to_string()])
        .args(["-kernel", &format!("/machine/vmlinuz{of}"), "-initrd", &format!("/machine/initrd{of}")])
        .args(["-append", "root=/dev/vda rw console=ttyS0"])
        .args(["-drive", "file=/machine/disk.img,format=raw,if=virtio,cache=unsafe"])
        .args(["-netdev", &format!("user,id=n0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22,hostfwd=tcp:127.0.0.1:{shop_port}-:8000")])
        .args(["-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci"])
        .detached()
}

/// Shuts it down.
pub(crate) fn stop(name: Name) -> Result<()> {
    let Some(pid) = process(name) else {
        return Ok(());
    };
    // The disk goes next, so nobody waits long for an orderly end.
    stop_process(pid, Duration::from_secs(10))
}

/// Whether its process is there.
pub(crate) fn is_running(name: Name) -> bool {
    process(name).is_some()
}

fn process(name: Name) -> Option<u32> {
    find_process("qemu-system-x86_64", &name.machine())
}

fn still_running(name: Name) -> Result<()> {
    if is_running(name) {
        Ok(())
    } else {
        bail!(
            "the VM ended; its console is in {}",
            console_log(name).display()
        )
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn free_port(from: u16) -> Result<u16> {
    (from..from + 100)
        .find(|port| is_free(*port))
        .with_context(|| format!("no free port between {from} and {}", from + 99))
}

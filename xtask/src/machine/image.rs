//! The Debian that the lab's machines start from, and what makes a copy of it one certain machine.

use std::fs;

use anyhow::{Context, Result};

use super::Name;
use crate::debian::{self, Recipe, Rootfs};

const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-resolved-",
    "dbus",
    "libpam-systemd",
    "udev",
    "kmod",
    "openssh-server",
    "sudo",
    "python3",
    "python3-apt",
    "iproute2",
    "nftables",
    "iputils-ping",
    "procps",
    "psmisc",
    "less",
    "curl",
    "ca-certificates",
    "libsystemd0",
    "bash-completion",
    "man-db",
    "strace",
    "bpftool",
    "postgresql-17",
];

/// The server's package makes and starts a cluster when it is installed, in images too. The lab has a cluster of its own; the setting is
/// taken away again, as the playbook does on a host.
const BEFORE: &str = "mkdir -p /etc/postgresql-common/createcluster.d\n\
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/observastack.conf\n\
    printf 'path-include=/usr/share/man/*\\n' > /etc/dpkg/dpkg.cfg.d/man-pages";
const AFTER: &str = "rm /etc/postgresql-common/createcluster.d/observastack.conf\n\
    systemctl enable systemd-networkd ssh\n\
    rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id\n\
    touch /etc/machine-id";

/// The image for machines under systemd-nspawn. The distribution's packages that the playbook wants are in it already: installing them takes
/// 40 s in a machine, and minutes in an emulated one.
pub(crate) fn nspawn() -> Result<Rootfs> {
    debian::image(&Recipe {
        name: "machine",
        what: "the lab's machine",
        before: BEFORE,
        packages: PACKAGES,
        after: AFTER,
    })
}

/// The same with a kernel, for QEMU, and with what a data volume is made with.
pub(crate) fn vm() -> Result<Rootfs> {
    let packages: Vec<&'static str> = PACKAGES
        .iter()
        .copied()
        .chain([
            "linux-image-cloud-amd64",
            "initramfs-tools",
            "zstd",
            "dmsetup",
            "e2fsprogs",
            "prometheus",
            "polkitd",
        ])
        .collect();
    debian::image(&Recipe {
        name: "machine-vm",
        what: "the lab's VM",
        before: BEFORE,
        packages: &packages,
        // As the playbook leaves it where it installs Prometheus itself.
        after: &format!("{AFTER}\nsystemctl disable prometheus"),
    })
}

/// Makes a copy a machine: its name, its keys, our key, its network.
pub(crate) fn personalize(root: &Rootfs, name: Name, network: &str, ssh_host: &str) -> Result<()> {
    root.use_host_network_settings()?;
    root.write(
        "/etc/hostname",
        "644",
        &format!("observastack-{}\n", name.text()),
    )?;
    root.write(
        "/etc/hosts",
        "644",
        &format!(
            "127.0.0.1 localhost observastack-{0}\n::1 localhost\n",
            name.text()
        ),
    )?;
    // A low number: systemd brings an 80-container-host0.network of its own, and the first that matches wins.
    root.write("/etc/systemd/network/10-host0.network", "644", network)?;
    let key = fs::read_to_string(name.state_dir().join("key.pub"))
        .context("cannot read the machine's key")?;
    root.command(&[], "sh")
        .args(["-c", "install -d -m 700 /root/.ssh && ssh-keygen -A"])
        .output()?;
    root.write("/root/.ssh/authorized_keys", "600", &key)?;
    let host_key = fs::read_to_string(root.path.join("etc/ssh/ssh_host_ed25519_key.pub"))
        .context("cannot read the machine's host key")?;
    let known: Vec<&str> = host_key.split_whitespace().take(2).collect();
    fs::write(
        name.state_dir().join("known_hosts"),
        format!("{ssh_host} {}\n", known.join(" ")),
    )?;
    Ok(())
}

//! The VM lane: the playbook makes a lab out of a Debian 13 machine under QEMU, on the stock kernel, with its database on a data volume. There is
//! everything that a fault may need (BPF LSM, fq, device-mapper), and everything is slow: few tests, and none that depends on time.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::debian::Rootfs;
use crate::e2e::{self, Check};
use crate::kernels::{self, Series};
use crate::machine::{Name, State, qemu};
use crate::playbook;
use crate::results::Totals;

const SIZE: qemu::Size = qemu::Size {
    cpus: 2,
    memory_mib: 3072,
};
const VOLUME: &str = "observastack_data_volume=loop";
/// The oldest kernel that is supported.
const OLDEST: Series = Series::V6_1;

/// Makes the machine, runs everything, takes it down, whatever happens in between.
pub(crate) fn run(filter: Option<&str>, keep: bool) -> Result<Totals> {
    let name = Name::VmTest;
    e2e::in_machine(name, "vm", &[e2e::PROGRAM], keep, |deb, totals| {
        tests(name, deb, filter, totals)
    })
}

/// A lab on Debian's stock kernel, with its database on a data volume.
pub(crate) fn lab(name: Name, deb: &Path) -> Result<State> {
    let state = timed("the machine", || {
        qemu::start(name, SIZE, |root| {
            preinstall(root, deb)?;
            let tools = kernels::tools()?;
            kernels::get(OLDEST, &tools)?.install_into(root, OLDEST, &name.root_dir())
        })
    })?;
    timed("the installation", || {
        playbook::install_with(
            name,
            &state,
            deb,
            &[VOLUME],
            "playbook install.yml in the VM",
        )
    })
    .context("vm_playbook_installs_the_lab")?;
    Ok(state)
}

fn tests(name: Name, deb: &Path, filter: Option<&str>, totals: &mut Totals) -> Result<()> {
    let state = lab(name, deb)?;
    let mut check = Check { totals, filter };
    check.always("vm_playbook_installs_the_lab", Ok(()));
    *check.totals += timed("the tests", || e2e::programs(name, &state, "vm", filter))?;
    check.named("vm_second_run_of_the_playbook_changes_nothing", || {
        timed("the second installation", || {
            playbook::install_with(
                name,
                &state,
                deb,
                &[VOLUME],
                "playbook install.yml in the VM, second run",
            )?
            .nothing_changed()
        })
    });
    check.named("vm_reboot_brings_the_lab_back_with_its_volume", || {
        timed("the reboot", || reboot(name, &state))
    });
    // The oldest kernel that is supported, on the same disk: the lab as it is, and every fault again.
    let booted = timed(&format!("booting kernel {}", OLDEST.name()), || {
        qemu::boot_with(name, SIZE, &state, OLDEST)?;
        wait_healthy(name, &state, OLDEST)
    });
    let is_booted = booted.is_ok();
    check.always("vm_lab_is_healthy_on_the_oldest_kernel", booted);
    if is_booted {
        println!("==> kernel {}", OLDEST.name());
        *check.totals += timed("the tests", || {
            e2e::programs(name, &state, "vm-oldest", filter)
        })?;
    }
    check.named("vm_uninstallation_takes_the_volume_away", || {
        timed("the uninstallation", || {
            playbook::uninstall(name, &state).map(drop)
        })?;
        nothing_is_left(name, &state)
    });
    Ok(())
}

/// Waits until every unit is up again, on this kernel and no other.
fn wait_healthy(name: Name, state: &State, kernel: Series) -> Result<()> {
    let release = state.ssh(name, "uname -r").limit_s(60).output()?;
    if !release.starts_with(&format!("{}.", kernel.name())) {
        bail!("the machine runs kernel {release}");
    }
    healthy(name, state, || true)
}

/// Waits until every unit is up, once the machine `is_ready` to be asked.
fn healthy(name: Name, state: &State, is_ready: impl Fn() -> bool) -> Result<()> {
    let status = "systemctl is-system-running --wait >/dev/null; observastack-ctl status";
    let limit_s = 300;
    let started = Instant::now();
    while !(is_ready() && state.ssh(name, status).limit_s(180).succeeds()) {
        if started.elapsed().as_secs() > limit_s {
            bail!("the lab is not healthy within {limit_s} s");
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let done = work();
    eprintln!("    {what}: {:.0} s", started.elapsed().as_secs_f64());
    done
}

/// Unpacks the package before the machine boots: in the emulated machine, apt takes minutes for it. Nothing of it is enabled: the playbook has to
/// do that, and a lab that starts by itself would have its data in place before there is a volume.
fn preinstall(root: &Rootfs, deb: &Path) -> Result<()> {
    let dir = deb.parent().context("a package without a folder")?;
    let file = deb.file_name().context("a package without a name")?;
    let script = r#"
        set -e
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
        dpkg --install "/run/package/$1"
        systemctl disable observastack.target
        install -d -m 755 /var/lib/observastack/install
        printf '%s %s\n' "$(sha256sum "/run/package/$1" | cut -d' ' -f1)" \
            "$(dpkg-query --show --showformat '${db:Status-Status} ${Version}' observastack)" > /var/lib/observastack/install/package
        rm /usr/sbin/policy-rc.d
    "#;
    root.command(&[(dir, "/run/package")], "sh")
        .args(["-c", script, "sh"])
        .arg(file)
        .limit_s(120)
        .step("put the package into the VM's image")
        .map(drop)
}

/// After it, the cluster has to be the one from before, on the volume.
fn reboot(name: Name, state: &State) -> Result<()> {
    const IDENTITY: &str = "cat /var/lib/observastack/postgresql/data/postmaster.opts >/dev/null && \
        findmnt --noheadings --output SOURCE /var/lib/observastack/postgresql && \
        runuser -u observastack-postgresql -- psql -XqAt -h /run/observastack/postgresql -p 5440 -U postgres -c 'select system_identifier from pg_control_system()'";
    let identity = || state.ssh(name, IDENTITY).limit_s(60).output();
    let before = identity().context("before the reboot")?;
    let boot_id = || {
        state
            .ssh(name, "cat /proc/sys/kernel/random/boot_id")
            .limit_s(20)
            .output()
    };
    let boot = boot_id()?;
    state.ssh(name, "systemctl reboot").limit_s(60).status()?;
    healthy(name, state, || boot_id().is_ok_and(|now| now != boot))?;
    let after = identity().context("after the reboot")?;
    if after != before {
        bail!("the cluster was {before:?} and is {after:?}");
    }
    Ok(())
}

/// Devices, mounts, files and units of ours.
fn nothing_is_left(name: Name, state: &State) -> Result<()> {
    let script = r#"
        dmsetup ls | grep -v '^No devices found$' | sed 's/^/mapped device /'
        losetup --noheadings --list | sed 's/^/loop device /'
        grep observastack /proc/mounts | sed 's/^/mounted /'
        find / -xdev -path /proc -prune -o -iname '*observastack*' -print | grep -vE '^/var/(log/journal|cache/man)/' | sed 's/^/file /'
        find /etc /run -xdev -iname '*observastack*' | sed 's/^/file /'
        systemctl list-units --all --plain --no-legend 'observastack*' | sed 's/^/unit /'
        dpkg-query -W -f '${Package} ${db:Status-Status}\n' observastack 2>/dev/null | sed 's/^/package /'
        true"#;
    let left = state.ssh(name, script).limit_s(180).output()?;
    if left.is_empty() {
        Ok(())
    } else {
        bail!("left behind:\n{left}")
    }
}

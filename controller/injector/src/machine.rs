//! What this machine can do beside the kernel's programs: systemd, cgroup controllers, device-mapper, the guard.

use std::{fs, path::Path};

use observastack_loader::capability::{Answer, Capability, kernel_config};

use crate::{host::guard, volume};

/// Names of capabilities, as [`probe`] gives them.
pub(crate) mod names {
    pub(crate) const SYSTEMD: &str = "systemd";
    pub(crate) const GUARD: &str = "guard";
    pub(crate) const CGROUP_CPU: &str = "cgroup-cpu";
    pub(crate) const CGROUP_MEMORY: &str = "cgroup-memory";
    pub(crate) const CGROUP_PIDS: &str = "cgroup-pids";
    pub(crate) const CGROUP_FREEZE: &str = "cgroup-freeze";
    pub(crate) const PROCESS_LIMITS: &str = "process-limits";
    pub(crate) const SOCKET_DESTROY: &str = "socket-destroy";
    pub(crate) const DATA_VOLUME: &str = "data-volume";
    pub(crate) const DM_DELAY: &str = "dm-delay";
    pub(crate) const DM_FLAKEY: &str = "dm-flakey";
}

/// Looks at everything; changes nothing.
pub(crate) fn probe(cgroup_root: &Path, slices: &[String], guard_dir: &Path) -> Vec<Capability> {
    let mut probed = vec![systemd(), guard_of(guard_dir)];
    let controllers =
        fs::read_to_string(cgroup_root.join("cgroup.controllers")).unwrap_or_default();
    for (name, controller) in [
        (names::CGROUP_CPU, "cpu"),
        (names::CGROUP_MEMORY, "memory"),
        (names::CGROUP_PIDS, "pids"),
    ] {
        probed.push(self::controller(name, controller, &controllers));
    }
    probed.push(freeze(cgroup_root, slices));
    probed.push(process_limits());
    probed.push(socket_destroy());
    probed.push(data_volume());
    probed.push(module(names::DM_DELAY, "dm_delay", "CONFIG_DM_DELAY"));
    probed.push(module(names::DM_FLAKEY, "dm_flakey", "CONFIG_DM_FLAKEY"));
    probed
}

fn answer(name: &'static str, is_there: bool, yes: String, no: String) -> Capability {
    let (answer, reason) = if is_there {
        (Answer::Yes, yes)
    } else {
        (Answer::No, no)
    };
    Capability {
        name,
        answer,
        reason,
    }
}

fn systemd() -> Capability {
    answer(
        names::SYSTEMD,
        Path::new("/run/systemd/system").is_dir(),
        "it runs this machine".to_owned(),
        "pid 1 is not systemd: limits of units cannot be set".to_owned(),
    )
}

fn guard_of(directory: &Path) -> Capability {
    answer(
        names::GUARD,
        guard::is_running(directory),
        "observastack-guard watches over what the kernel does not undo".to_owned(),
        "observastack-guard is not running; start it with: systemctl start observastack-guard"
            .to_owned(),
    )
}

fn controller(name: &'static str, controller: &str, controllers: &str) -> Capability {
    answer(
        name,
        controllers
            .split_whitespace()
            .any(|found| found == controller),
        "in cgroup.controllers".to_owned(),
        format!(
            "the unified hierarchy has no `{controller}` controller (it may be on a cgroup v1 hierarchy; boot with \
             systemd.unified_cgroup_hierarchy=1)"
        ),
    )
}

fn freeze(cgroup_root: &Path, slices: &[String]) -> Capability {
    let found = slices
        .iter()
        .flat_map(|slice| {
            observastack_loader::unit_paths(
                cgroup_root,
                std::slice::from_ref(slice),
                "cgroup.freeze",
            )
        })
        .any(|path| path.exists());
    answer(
        names::CGROUP_FREEZE,
        found,
        "the target slice has cgroup.freeze".to_owned(),
        "no target slice is running, or its cgroup has no cgroup.freeze".to_owned(),
    )
}

/// Limits of other users' processes need CAP_SYS_RESOURCE, which some containers and virtual machines withhold from root.
fn process_limits() -> Capability {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    answer(
        names::PROCESS_LIMITS,
        has_sys_resource(&status),
        "the injector has CAP_SYS_RESOURCE".to_owned(),
        "the injector has no CAP_SYS_RESOURCE: whoever runs this machine keeps it from its root"
            .to_owned(),
    )
}

/// Whether a process's effective capabilities (proc_pid_status(5)) have number 24.
fn has_sys_resource(status: &str) -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set & CAP_SYS_RESOURCE != 0)
}

/// No trial: it would need a connection to destroy. The kernel's configuration says it where it can be read.
fn socket_destroy() -> Capability {
    const OPTION: &str = "CONFIG_INET_DIAG_DESTROY";
    match kernel_config() {
        Some(config) => answer(
            names::SOCKET_DESTROY,
            config.lines().any(|line| line == format!("{OPTION}=y")),
            format!("{OPTION}=y"),
            format!("the kernel is built without {OPTION}"),
        ),
        None => Capability {
            name: names::SOCKET_DESTROY,
            answer: Answer::Unknown,
            reason: "the kernel's configuration cannot be read; Debian's and Ubuntu's kernels can"
                .to_owned(),
        },
    }
}

fn data_volume() -> Capability {
    let found = volume::mount_point();
    answer(
        names::DATA_VOLUME,
        found.is_some(),
        found.map_or_else(String::new, |place| {
            format!("mounted at {}", place.display())
        }),
        "the database has no volume of its own; install the lab with observastack_data_volume=loop"
            .to_owned(),
    )
}

/// A module that is loaded, or that the kernel was built with: the injector's sandbox does not see the modules' files.
fn module(name: &'static str, module: &str, option: &str) -> Capability {
    if Path::new("/sys/module").join(module).exists() {
        return answer(name, true, "loaded".to_owned(), String::new());
    }
    match kernel_config() {
        Some(config) => answer(
            name,
            config
                .lines()
                .any(|line| line == format!("{option}=m") || line == format!("{option}=y")),
            format!("the kernel was built with {option}"),
            format!("the kernel is built without {option}"),
        ),
        None => Capability {
            name,
            answer: Answer::Unknown,
            reason: format!(
                "{module} is not loaded, and the kernel's configuration cannot be read: modprobe {module}"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_looked_for_by_its_whole_name() {
        assert_eq!(
            controller(names::CGROUP_CPU, "cpu", "cpuset io memory").answer,
            Answer::No
        );
        assert_eq!(
            controller(names::CGROUP_CPU, "cpu", "cpuset cpu io").answer,
            Answer::Yes
        );
    }

    #[test]
    fn a_capability_is_read_from_its_bit() {
        assert!(has_sys_resource("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!has_sys_resource("CapEff:\t000001fffeffffff\n"));
        assert!(!has_sys_resource(""));
    }

    #[test]
    fn what_is_missing_says_how_to_get_it() {
        let directory = tempfile::tempdir().unwrap();
        let guard = guard_of(directory.path());
        assert_eq!(guard.answer, Answer::No);
        assert!(
            guard.reason.contains("systemctl start observastack-guard"),
            "{}",
            guard.reason
        );
    }
}

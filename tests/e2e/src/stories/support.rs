//! Which faults this machine can have: what `doctor` says is what other tools say, and what it can't is refused with the
//! reason.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command,
    lab::{self, API_1},
    machine::Machine,
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "support::doctor_answers_for_every_fault_as_other_tools_do",
            doctor,
        ),
        test(
            "support::a_fault_that_this_machine_cannot_do_is_refused_with_the_reason",
            refused,
        ),
    ]
}

/// What a fault needs beyond what every lab has, and a word of the reason where it is missing.
#[derive(Clone, Copy, Debug)]
enum Need {
    /// The `fq` queueing discipline.
    Fq,
    /// Programs of BPF LSM.
    Lsm,
    /// A controller of cgroup v2.
    Controller(&'static str),
    /// To limit processes of others.
    ProcessLimits,
    /// The data volume, with a target of device-mapper or none.
    Volume(Option<&'static str>),
}

impl Need {
    /// Whether it is there, by other people's tools.
    fn is_met(self) -> Result<bool> {
        let shell = |text: &str| command::run(&["sh", "-c", text]).map(|ran| ran.code == 0);
        match self {
            // A device of the test's own: the lab's keep theirs.
            Self::Fq => {
                shell("ip link add e2e-fq type dummy")?;
                let has = shell("tc qdisc add dev e2e-fq root fq");
                shell("ip link delete e2e-fq")?;
                has
            }
            Self::Lsm => shell(
                "bpftool feature probe kernel 2>/dev/null | grep -q 'program_type lsm is available'",
            ),
            Self::Controller(name) => {
                let text = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
                Ok(text.split_whitespace().any(|found| found == name))
            }
            Self::ProcessLimits => shell("setpriv --dump | grep -q sys_resource"),
            Self::Volume(target) => {
                let mounted = Path::new("/dev/mapper/observastack-data").exists();
                let target = target.map_or(Ok(true), |target| {
                    shell(&format!(
                        "modprobe -n {target} || test -d /sys/module/{target}"
                    ))
                })?;
                Ok(mounted && target)
            }
        }
    }

    /// What a refusal has to name.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Fq => &["fq", "CONFIG_NET_SCH_FQ"],
            Self::Lsm => &["bpf-lsm"],
            Self::Controller(_) => &["controller", "systemd.unified_cgroup_hierarchy=1"],
            Self::ProcessLimits => &["CAP_SYS_RESOURCE"],
            Self::Volume(_) => &["d"],
        }
    }
}

/// Every fault: its arguments, and its special needs.
const TABLE: [(&str, &[&str], Option<Need>); 21] = [
    ("packet-loss", &[], None),
    ("latency", &["--delay", "10ms"], Some(Need::Fq)),
    ("bandwidth", &["--rate", "1mbit"], Some(Need::Fq)),
    ("blackhole", &[], None),
    ("mtu-blackhole", &["--mtu", "1400"], None),
    ("connect-error", &["--errno", "ECONNREFUSED"], None),
    ("bind-error", &["--errno", "EADDRINUSE"], None),
    ("reset", &[], None),
    ("slow-receiver", &["--window", "512"], None),
    (
        "syscall-error",
        &["--calls", "read", "--errno", "EIO"],
        Some(Need::Lsm),
    ),
    ("signal", &["--signal", "TERM", "--call", "openat"], None),
    (
        "cpu-quota",
        &["--quota", "20%"],
        Some(Need::Controller("cpu")),
    ),
    (
        "memory-limit",
        &["--limit", "64MiB"],
        Some(Need::Controller("memory")),
    ),
    (
        "tasks-limit",
        &["--limit", "10"],
        Some(Need::Controller("pids")),
    ),
    ("fd-limit", &["--limit", "32"], Some(Need::ProcessLimits)),
    ("cpu-stress", &["--workers", "1"], None),
    ("freeze", &[], None),
    (
        "disk-delay",
        &["--read", "10ms"],
        Some(Need::Volume(Some("dm_delay"))),
    ),
    (
        "disk-error",
        &["--failing", "1s", "--healthy", "1s"],
        Some(Need::Volume(Some("dm_flakey"))),
    ),
    ("disk-fill", &[], Some(Need::Volume(None))),
    ("unit", &["--action", "restart"], None),
];

fn doctor() -> Result<()> {
    let report = lab::doctor()?;
    let listed = report["faults"].as_array().context("no faults")?;
    let (known, named): (Vec<_>, Vec<_>) = (
        listed
            .iter()
            .filter_map(|fault| fault["fault"].as_str())
            .collect(),
        TABLE.iter().map(|(kind, _, _)| *kind).collect(),
    );
    ensure!(
        known == named,
        "doctor knows {known:?}, the table {named:?}"
    );
    for (fault, (kind, _, need)) in listed.iter().zip(TABLE) {
        let expected = match need {
            None => "yes",
            Some(need) if need.is_met()? => "yes",
            Some(_) => "no",
        };
        ensure!(
            fault["answer"] == expected,
            "{kind}: {} instead of {expected}: {fault}",
            fault["answer"]
        );
        let reason = fault["reason"].as_str().unwrap_or_default();
        ensure!(
            (expected == "yes") == reason.is_empty(),
            "{kind}: the reason is {reason:?}"
        );
    }
    Ok(())
}

fn refused() -> Result<()> {
    let before = Machine::now()?;
    let known = lab::faults()?;
    let unit = lab::POSTGRESQL;
    for (kind, arguments, need) in TABLE {
        let Some(need) = need else { continue };
        if need.is_met()? {
            continue;
        }
        // The disk's faults are faults of the database; for the others any unit will do.
        let unit = if matches!(need, Need::Volume(_)) {
            unit
        } else {
            API_1
        };
        let words = ["inject", kind, "--unit", unit, "--for", "10m"];
        let ran = lab::ctl_ran(&[&words[..], arguments].concat())?;
        ran.expect(1)?;
        ran.says(need.words())?;
        ran.says(&["unsupported", "doctor"])?;
        // What it would do is told nevertheless, with the same reason.
        let dry = lab::ctl_ran(&[&words[..], arguments, &["--dry-run"]].concat())?;
        dry.expect(1)?;
        ensure!(
            dry.stdout.contains("\"no\"")
                && need.words().iter().all(|word| dry.stdout.contains(word)),
            "{kind}: {}",
            dry.stdout
        );
    }
    ensure!(lab::faults()? == known, "{:?}", lab::faults()?);
    Machine::now()?.expect(&before)
}

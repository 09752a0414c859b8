//! What the kernel and this machine and so the injector can do: fault by fault, with the reason.

use std::path::Path;

use observastack_loader::{
    FaultKind,
    capability::{self, Capability},
};
use observastack_spec::{api, fault::KINDS};

use crate::{
    engine::Refusals,
    machine::{self, names},
};

/// What there is to say. `kernel` is what [`capability::probe`] has found, which takes some tens of milliseconds of CPU.
pub(crate) fn report(
    kernel: &[Capability],
    cgroup_root: &Path,
    slices: &[String],
    guard_dir: &Path,
    refusals: &Refusals,
) -> api::CapabilityReport {
    let mut probed = kernel.to_vec();
    probed.extend(machine::probe(cgroup_root, slices, guard_dir));
    api::CapabilityReport {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: probed.iter().map(to_api).collect(),
        faults: KINDS
            .iter()
            .map(|kind| support(kind, &probed, refusals))
            .collect(),
    }
}

/// Whether one fault works here.
pub(crate) fn support(kind: &str, probed: &[Capability], refusals: &Refusals) -> api::FaultSupport {
    let needs = needs(kind);
    let worst = needs
        .iter()
        .filter_map(|need| probed.iter().find(|capability| capability.name == *need));
    let worst = worst.max_by_key(|capability| match capability.answer {
        capability::Answer::Yes => 0,
        capability::Answer::Unknown => 1,
        capability::Answer::No => 2,
    });
    let refused = kernel_kind(kind).and_then(|kind| {
        let by_fault = refusals.faults.iter();
        let mut by_fault = by_fault.filter(|(refused, _)| *refused == kind);
        let own = by_fault.next().map(|(_, reason)| reason);
        own.or(refusals.all.as_ref())
    });
    let missing = worst.filter(|capability| capability.answer != capability::Answer::Yes);
    let said = |capability: &Capability| format!("{}: {}", capability.name, capability.reason);
    let (answer, reason) = match (missing, refused) {
        // Says how to get it, which the verifier does not.
        (Some(capability), _) if capability.answer == capability::Answer::No => {
            (api::Answer::No, said(capability))
        }
        // What happened when the real programs were loaded outweighs every doubt.
        (_, Some(reason)) => (api::Answer::No, reason.clone()),
        (Some(capability), None) => (answer(capability.answer), said(capability)),
        (None, None) => (api::Answer::Yes, String::new()),
    };
    api::FaultSupport {
        fault: kind.to_owned(),
        answer,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        reason,
    }
}

/// The kernel's fault behind one that users know.
fn kernel_kind(kind: &str) -> Option<FaultKind> {
    let name = if kind == "blackhole" {
        "packet-loss"
    } else {
        kind
    };
    FaultKind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// What a fault needs, by the names of capabilities.
pub(crate) fn needs(kind: &str) -> Vec<&'static str> {
    let mut needs = kernel_kind(kind).map_or_else(Vec::new, capability::needs);
    let host: &[&str] = match kind {
        "latency" | "bandwidth" => &[names::GUARD],
        "reset" => &[names::SOCKET_DESTROY],
        "cpu-quota" => &[names::SYSTEMD, names::GUARD, names::CGROUP_CPU],
        "memory-limit" => &[names::SYSTEMD, names::GUARD, names::CGROUP_MEMORY],
        "tasks-limit" => &[names::SYSTEMD, names::GUARD, names::CGROUP_PIDS],
        "fd-limit" => &[names::GUARD, names::PROCESS_LIMITS],
        "freeze" => &[names::GUARD, names::CGROUP_FREEZE],
        "disk-delay" => &[names::GUARD, names::DATA_VOLUME, names::DM_DELAY],
        "disk-error" => &[names::GUARD, names::DATA_VOLUME, names::DM_FLAKEY],
        "disk-fill" => &[names::GUARD, names::DATA_VOLUME],
        "unit" => &[names::SYSTEMD, names::GUARD],
        "cpu-stress" => &[capability::names::CGROUP_V2],
        _ => &[],
    };
    needs.extend(host);
    needs
}

/// Whether a fault needs more than the kernel's programs, which the engine knows of.
pub(crate) fn needs_the_machine(kind: &str) -> bool {
    let programs_only = [
        "packet-loss",
        "blackhole",
        "mtu-blackhole",
        "slow-receiver",
        "connect-error",
        "bind-error",
        "signal",
    ];
    !programs_only.contains(&kind)
}

fn to_api(capability: &Capability) -> api::Capability {
    api::Capability {
        name: capability.name.to_owned(),
        answer: answer(capability.answer),
        reason: capability.reason.clone(),
    }
}

fn answer(answer: capability::Answer) -> api::Answer {
    match answer {
        capability::Answer::Yes => api::Answer::Yes,
        capability::Answer::No => api::Answer::No,
        capability::Answer::Unknown => api::Answer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use observastack_loader::capability::{Answer, names};

    use super::*;

    fn all_yes() -> Vec<Capability> {
        let needs = KINDS.iter().flat_map(|kind| needs(kind));
        needs
            .map(|name| Capability {
                name,
                answer: Answer::Yes,
                reason: "seen".into(),
            })
            .collect()
    }

    fn with(name: &str, answer: Answer, reason: &str) -> Vec<Capability> {
        let mut probed = all_yes();
        for capability in probed.iter_mut().filter(|probed| probed.name == name) {
            capability.answer = answer;
            capability.reason = reason.into();
        }
        probed
    }

    #[test]
    fn a_fault_works_where_all_its_needs_are_met() {
        for kind in KINDS {
            let support = support(kind, &all_yes(), &Refusals::default());
            assert_eq!(
                (support.answer, support.reason.as_str()),
                (api::Answer::Yes, "")
            );
            assert!(!support.needs.is_empty(), "{kind} needs nothing");
        }
    }

    #[test]
    fn a_missing_need_is_named_with_its_reason() {
        let probed = with(names::BTF, Answer::No, "no file");
        let support = support("connect-error", &probed, &Refusals::default());
        assert_eq!(
            (support.answer, support.reason.as_str()),
            (api::Answer::No, "btf: no file")
        );
    }

    #[test]
    fn how_to_get_a_capability_is_said_rather_than_what_the_verifier_said() {
        let refusals = Refusals {
            all: None,
            faults: vec![(FaultKind::SyscallError, "verifier".into())],
        };
        let probed = with(names::BPF_LSM, Answer::No, "add lsm=...,bpf");
        assert_eq!(
            support("syscall-error", &probed, &refusals).reason,
            "bpf-lsm: add lsm=...,bpf"
        );
    }

    #[test]
    fn a_refused_load_outweighs_every_trial() {
        let refusals = Refusals {
            all: None,
            faults: vec![(FaultKind::PacketLoss, "verifier".into())],
        };
        for kind in ["packet-loss", "blackhole"] {
            assert_eq!(support(kind, &all_yes(), &refusals).reason, "verifier");
        }
        assert_eq!(
            support("connect-error", &all_yes(), &refusals).answer,
            api::Answer::Yes
        );
    }

    #[test]
    fn faults_of_the_host_alone_work_without_programs() {
        let refusals = Refusals {
            all: Some("no BTF".into()),
            faults: Vec::new(),
        };
        assert_eq!(
            support("unit", &all_yes(), &refusals).answer,
            api::Answer::Yes
        );
        assert_eq!(
            support("latency", &all_yes(), &refusals).answer,
            api::Answer::No
        );
    }
}

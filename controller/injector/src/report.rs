//! What the kernel and so the injector can do.

use std::path::Path;

use observastack_loader::{
    FaultKind,
    capability::{self, Capability},
};
use observastack_spec::api;

use crate::engine::Refusals;

/// Probes the kernel; takes some tens of milliseconds of CPU.
pub(crate) fn report(cgroup_root: &Path, refusals: &Refusals) -> api::CapabilityReport {
    let probed = capability::probe(cgroup_root);
    let faults = FaultKind::ALL
        .into_iter()
        .map(|kind| support(kind, &probed, refusals))
        .collect();
    api::CapabilityReport {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: probed.iter().map(to_api).collect(),
        faults,
    }
}

fn support(kind: FaultKind, probed: &[Capability], refusals: &Refusals) -> api::FaultSupport {
    let needs = capability::needs(kind);
    let worst = needs
        .iter()
        .filter_map(|need| probed.iter().find(|capability| capability.name == *need));
    let worst = worst.max_by_key(|capability| match capability.answer {
        capability::Answer::Yes => 0,
        capability::Answer::Unknown => 1,
        capability::Answer::No => 2,
    });
    let refused = refusals
        .faults
        .iter()
        .find(|(refused, _)| *refused == kind)
        .map(|(_, reason)| reason);
    let (answer, reason) = match (refused.or(refusals.all.as_ref()), worst) {
        // What happened when the real programs were loaded outweighs every trial.
        (Some(reason), _) => (api::Answer::No, reason.clone()),
        (None, Some(capability)) if capability.answer != capability::Answer::Yes => (
            answer(capability.answer),
            format!("{}: {}", capability.name, capability.reason),
        ),
        _ => (api::Answer::Yes, String::new()),
    };
    api::FaultSupport {
        fault: kind.name().to_owned(),
        answer,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        reason,
    }
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
        let needs = FaultKind::ALL.into_iter().flat_map(capability::needs);
        needs
            .map(|name| Capability {
                name,
                answer: Answer::Yes,
                reason: "seen".into(),
            })
            .collect()
    }

    #[test]
    fn a_fault_works_where_all_its_needs_are_met() {
        let support = support(FaultKind::PacketLoss, &all_yes(), &Refusals::default());
        assert_eq!(
            (support.answer, support.reason.as_str()),
            (api::Answer::Yes, "")
        );
    }

    #[test]
    fn a_missing_need_is_named_with_its_reason() {
        let mut probed = all_yes();
        for capability in probed
            .iter_mut()
            .filter(|capability| capability.name == names::BTF)
        {
            capability.answer = Answer::No;
            capability.reason = "no file".into();
        }
        let support = support(FaultKind::ConnectError, &probed, &Refusals::default());
        assert_eq!(
            (support.answer, support.reason.as_str()),
            (api::Answer::No, "btf: no file")
        );
    }

    #[test]
    fn a_refused_load_outweighs_every_trial() {
        let refusals = Refusals {
            all: None,
            faults: vec![(FaultKind::PacketLoss, "verifier".into())],
        };
        assert_eq!(
            support(FaultKind::PacketLoss, &all_yes(), &refusals).reason,
            "verifier"
        );
        assert_eq!(
            support(FaultKind::ConnectError, &all_yes(), &refusals).answer,
            api::Answer::Yes
        );
    }
}

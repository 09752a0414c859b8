//! From a fault that a user asked for to what carries it out: a rule that the kernel reads, changes to the host, work.

mod files;
mod packets;
mod resources;
mod rules;

#[cfg(test)]
mod tests;

use observastack_loader::Rule;
use observastack_spec::{Fault, FieldError, fault::FaultSpec};

use crate::{
    facts::Facts,
    host::{actors::Actor, change::Change},
};

/// What carries a fault out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// What the kernel reads.
    pub(crate) rule: Option<Rule>,
    /// What is changed on the host, in this order, before the rule holds.
    pub(crate) changes: Vec<Change>,
    /// Who keeps the fault up.
    pub(crate) actor: Option<Actor>,
}

/// Why a fault cannot be carried out here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LowerError {
    /// The request does not fit this machine.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// This machine lacks something.
    #[error("{0}")]
    Missing(&'static str),
}

/// When and as whom a fault holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// The fault's id.
    pub(crate) id: u64,
    /// When it ends, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) end_ns: u64,
}

/// What carries out a fault, by its facts.
pub(crate) fn lower(term: Term, spec: &FaultSpec, facts: &Facts) -> Result<Plan, LowerError> {
    let head = rules::head(term, spec);
    match &spec.fault {
        Fault::PacketLoss(fault) => Ok(packets::packet_loss(head, fault, facts)),
        Fault::Blackhole(fault) => Ok(packets::blackhole(head, fault, facts)),
        Fault::MtuBlackhole(fault) => Ok(packets::mtu_blackhole(head, fault, facts)),
        Fault::Latency(fault) => packets::latency(head, fault, facts),
        Fault::Bandwidth(fault) => packets::bandwidth(head, fault, facts),
        Fault::SlowReceiver(fault) => Ok(packets::slow_receiver(head, fault, facts)),
        Fault::ConnectError(fault) => Ok(rules::connect_error(head, fault)),
        Fault::BindError(fault) => Ok(rules::bind_error(head, fault)),
        Fault::SyscallError(fault) => Ok(files::syscall_error(head, fault, facts)),
        Fault::Signal(fault) => Ok(rules::signal(head, fault)),
        Fault::Reset(fault) => Ok(resources::reset(spec, fault, facts)),
        Fault::CpuQuota(fault) => Ok(resources::cpu_quota(spec, fault)),
        Fault::MemoryLimit(fault) => Ok(resources::memory_limit(spec, fault)),
        Fault::TasksLimit(fault) => Ok(resources::tasks_limit(spec, fault)),
        Fault::FdLimit(fault) => Ok(resources::fd_limit(spec, fault, facts)),
        Fault::CpuStress(fault) => Ok(resources::cpu_stress(fault, facts)),
        Fault::Freeze(fault) => Ok(resources::freeze(spec, fault, facts)),
        Fault::DiskDelay(fault) => resources::disk_delay(fault, facts),
        Fault::DiskError(fault) => resources::disk_error(fault, facts),
        Fault::DiskFill(fault) => resources::disk_fill(term.id, fault, facts),
        Fault::Unit(fault) => Ok(resources::unit(spec, fault)),
    }
}

impl Plan {
    fn of(rule: Rule) -> Self {
        Self {
            rule: Some(rule),
            ..Self::default()
        }
    }

    /// What would be done, step by step, for people.
    pub(crate) fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if !self.changes.is_empty() {
            steps.push("arm a systemd timer that reverts the changes".to_owned());
        }
        for change in &self.changes {
            let json = serde_json::to_value(change).unwrap_or_default();
            steps.push(format!("journal, then make the change: {}", words(&json)));
        }
        if let Some(actor) = &self.actor {
            steps.push(format!("keep up: {actor:?}"));
        }
        if let Some(rule) = &self.rule {
            let programs: Vec<_> = rule.programs().iter().map(|program| program.name).collect();
            steps.push(format!("attach the programs {}", programs.join(", ")));
            steps.push(format!("write a rule of {}", rule.kind().name()));
        }
        steps
    }
}

/// A JSON object as `key=value` pairs.
fn words(value: &serde_json::Value) -> String {
    let Some(object) = value.as_object() else {
        return value.to_string();
    };
    let pairs = object.iter().map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => format!("{key}={value}"),
    });
    pairs.collect::<Vec<_>>().join(" ")
}

//! In which order faults on one unit act.

/// The order, for people.
pub const ORDER: &str =
    "Several faults on one unit act in this order, whatever the order of injection:
  1. unit; resource limits (cpu-quota, memory-limit, tasks-limit, fd-limit);
     load and the data volume (cpu-stress, disk-delay, disk-error, disk-fill);
     freeze; reset
  2. system calls: connect-error, bind-error, syscall-error, signal
  3. packets out: latency and bandwidth set the time of departure at the cgroup;
     then, at the interface's egress, packet-loss and blackhole, mtu-blackhole,
     slow-receiver
  4. packets in: packet-loss and blackhole, then mtu-blackhole
Rules of one kind act in the order of their injection.";

/// Kinds by stage; faults of one stage act in the order of their injection.
const STAGES: &[&[&str]] = &[
    &["unit"],
    &["cpu-quota", "memory-limit", "tasks-limit", "fd-limit"],
    &["cpu-stress", "disk-delay", "disk-error", "disk-fill"],
    &["freeze"],
    &["reset"],
    &["connect-error", "bind-error", "syscall-error", "signal"],
    &["latency", "bandwidth"],
    &["packet-loss", "blackhole"],
    &["mtu-blackhole"],
    &["slow-receiver"],
];

/// A fault's stage in the order, from 0; `None` for what is no fault.
pub fn composition_order(kind: &str) -> Option<usize> {
    STAGES.iter().position(|stage| stage.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::KINDS;

    #[test]
    fn every_fault_has_one_place_and_is_named_to_people() {
        let placed: Vec<_> = STAGES.iter().flat_map(|stage| stage.iter()).collect();
        assert_eq!(placed.len(), KINDS.len());
        for kind in KINDS {
            assert!(composition_order(kind).is_some(), "{kind}");
            assert!(ORDER.contains(kind), "{kind}");
        }
        assert_eq!(composition_order("teapot"), None);
        assert!(composition_order("latency") < composition_order("packet-loss"));
    }
}

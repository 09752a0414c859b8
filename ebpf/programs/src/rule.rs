//! What happens to one event: the unit's rules are looked at one after the other, and each counts, numbers and decides.

use aya_ebpf::{helpers::bpf_get_current_cgroup_id, macros::map, maps::Array};
use aya_log_ebpf::debug;
use observastack_abi::{
    counts::RuleCounts,
    decision::{in_burst, is_faulted, is_its_turn},
    rule::{
        ALL_UNITS, ActiveSlots, FLAG_BURST, FLAG_VERBOSE, LOG_INTERVAL_NS, MAX_ERRNO,
        RULES_PER_UNIT, RuleHead, slot_index,
    },
};

use crate::{atomic::fetch_increment, lease, units};

/// Which slots of each unit have rules, and of all units together.
#[map]
static ACTIVE_SLOTS: Array<ActiveSlots> = Array::with_max_entries(ALL_UNITS + 1, 0);

/// Which slots of a unit have rules; `None` where none of these faults, a bit for each, has one.
#[inline(always)]
pub(crate) fn active(unit: u32, faults: u32) -> Option<&'static ActiveSlots> {
    let slots = ACTIVE_SLOTS.get(unit)?;
    (slots.faults & faults != 0).then_some(slots)
}

/// Whether any unit has a rule of these faults: the least that an event can cost.
#[inline(always)]
pub(crate) fn are_any(faults: u32) -> bool {
    active(ALL_UNITS, faults).is_some()
}

/// The unit that makes a call, for hooks that run in the caller's context, and which slots of it have rules; `None` where it has
/// no rule of these faults.
#[inline(always)]
pub(crate) fn caller(faults: u32) -> Option<(u32, &'static ActiveSlots)> {
    if !are_any(faults) {
        return None;
    }
    // SAFETY: the helper takes no arguments.
    let unit = units::index_of(unsafe { bpf_get_current_cgroup_id() })?;
    Some((unit, active(unit, faults)?))
}

/// Shows each rule that a unit has of one fault, in the order of their slots, until `visit` says true; whether it did.
///
/// `active` has a bit for each slot that has a rule.
#[inline(always)]
pub(crate) fn any<R>(
    unit: u32,
    active: u8,
    rules: &Array<R>,
    counts: &Array<RuleCounts>,
    head: fn(&R) -> &RuleHead,
    mut visit: impl FnMut(&R, *mut RuleCounts) -> bool,
) -> bool {
    for slot in 0..RULES_PER_UNIT {
        // Slots are given out from the first: there is seldom a second one.
        if active >> slot == 0 {
            return false;
        }
        if active & (1 << slot) == 0 {
            continue;
        }
        let index = slot_index(unit, slot);
        let (Some(rule), Some(counts)) = (rules.get(index), counts.get_ptr_mut(index)) else {
            return false;
        };
        if head(rule).id != 0 && visit(rule, counts) {
            return true;
        }
    }
    false
}

/// What an event is called in a verbose rule's log.
pub(crate) mod event {
    pub(crate) const PACKET: u32 = 0;
    pub(crate) const CONNECT: u32 = 1;
    pub(crate) const BIND: u32 = 2;
    pub(crate) const SYSCALL: u32 = 3;
}

/// Counts and decides an event that a rule covers; its number where it is to be faulted.
///
/// `clock` is one of [`crate::clock`]. `event` names the event in a verbose rule's log, `detail` is the port or the call that it was
/// matched by.
#[inline(always)]
pub(crate) fn decide(
    head: &RuleHead,
    counts: *mut RuleCounts,
    clock: fn(u64) -> u64,
    event: u32,
    detail: u16,
) -> Option<u64> {
    let lease_ns = lease::until_ns();
    let now_ns = clock(if head.end_ns < lease_ns {
        head.end_ns
    } else {
        lease_ns
    });
    if now_ns >= head.end_ns {
        return None;
    }
    // SAFETY: `counts` points into a live map value; only the fields' addresses are taken.
    let (matched, injected, skipped, granted) = unsafe {
        (
            &raw mut (*counts).matched,
            &raw mut (*counts).injected,
            &raw mut (*counts).skipped,
            &raw mut (*counts).granted,
        )
    };
    if now_ns >= lease_ns {
        fetch_increment(skipped);
        return None;
    }
    let n = fetch_increment(matched);
    let mut faulted = fate(head, n);
    if faulted && head.max != 0 {
        faulted = fetch_increment(granted) < head.max;
    }
    if faulted {
        fetch_increment(injected);
    }
    if head.flags & FLAG_VERBOSE != 0 && may_log(counts, faulted, now_ns) {
        observastack_log(head.id, n, event, u32::from(detail), u32::from(faulted));
    }
    faulted.then_some(n)
}

/// Writes one decision to the log. A global function to the kernel, as [`observastack_burst`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observastack_log(id: u64, n: u64, event: u32, detail: u32, faulted: u32) -> u32 {
    let name = match event {
        event::PACKET => "packet",
        event::CONNECT => "connect",
        event::BIND => "bind",
        _ => "syscall",
    };
    debug!(
        &(),
        "fault={} event={} n={} port={} faulted={}", id, name, n, detail, faulted
    );
    0
}

/// [`observastack_abi::decision::fate`], with the loop in a function of its own.
#[inline(always)]
fn fate(head: &RuleHead, n: u64) -> bool {
    if !is_its_turn(head, n) {
        false
    } else if head.flags & FLAG_BURST != 0 {
        observastack_burst(
            head.seed,
            n - head.after,
            head.burst_enter,
            head.burst_leave,
        ) != 0
    } else {
        is_faulted(head.seed, n, head.threshold)
    }
}

/// A global function to the kernel: verified once by itself, and not its 128 turns again for each place that it is called from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observastack_burst(seed: u64, n: u64, enter: u64, leave: u64) -> u32 {
    u32::from(in_burst(seed, n, enter, leave))
}

/// A rule's return value where the kernel takes it for an errno, 0 otherwise. The verifier wants to see the range.
#[inline(always)]
pub(crate) fn errno(retval: i32) -> i32 {
    if (-MAX_ERRNO..0).contains(&retval) {
        retval
    } else {
        0
    }
}

/// Takes the rule's turn to log a decision of this kind, at most once in [`LOG_INTERVAL_NS`]. Two CPUs may both win a turn:
/// that is one line more.
#[inline(always)]
fn may_log(counts: *mut RuleCounts, faulted: bool, now_ns: u64) -> bool {
    // SAFETY: `counts` points into a live map value; a torn value only shifts the next turn.
    unsafe {
        let logged_ns = if faulted {
            &raw mut (*counts).logged_fault_ns
        } else {
            &raw mut (*counts).logged_ns
        };
        // The last one may have had a more exact clock.
        if (now_ns.wrapping_sub(*logged_ns) as i64) < LOG_INTERVAL_NS as i64 {
            return false;
        }
        *logged_ns = now_ns;
    }
    true
}

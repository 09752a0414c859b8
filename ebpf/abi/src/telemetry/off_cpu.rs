//! Time that tasks of chosen units do not want a CPU: by what they wait for.

use super::profile::Sample;

/// How many waiting tasks are remembered at once, as in [`super::run_queue`].
pub const BLOCKED_PLACES: u32 = super::run_queue::WAITING_PLACES;

/// How many pairs of unit and cause are told apart.
pub const MAX_SERIES: u32 = 1024;

/// A task that went to sleep. Found by its address; the next one in the same place overwrites it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Its `task_struct`'s address; 0 for nobody.
    pub task: u64,
    /// Since when it sleeps.
    pub since_ns: u64,
    /// What it is accounted to.
    pub series: Series,
    /// Where it sleeps.
    pub stacks: Sample,
    /// The profile that wanted to know ([`super::wanted::SLEEP_STACKS`]); 0 for none.
    pub profile: u32,
    /// Whether it is counted by its cause; 1 or 0.
    pub is_counted: u32,
}

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The unit.
    pub unit: u32,
    /// The system call that it is in, [`NO_CALL`] for none, with [`UNINTERRUPTIBLE`].
    pub cause: u32,
}

const _: () = assert!(size_of::<Blocked>() == 48);
const _: () = assert!(size_of::<Series>() == 8);

/// In no system call, or in one that began before anybody asked: a page fault, most often.
pub const NO_CALL: u32 = 0xffff;

/// It sleeps so that no signal wakes it (`TASK_UNINTERRUPTIBLE`): block I/O, most often, or a lock of the kernel's own.
pub const UNINTERRUPTIBLE: u32 = 1 << 16;

/// What a sleep is accounted to.
#[inline(always)]
pub const fn cause_of(call: u32, task_state: u32) -> u32 {
    /// `TASK_UNINTERRUPTIBLE`; one that is idle (`TASK_IDLE`, with `TASK_NOLOAD`) is not waiting for anything.
    const STATE: u32 = 2;
    const NOLOAD: u32 = 0x400;
    let number = if call > NO_CALL { NO_CALL } else { call };
    if task_state & STATE != 0 && task_state & NOLOAD == 0 {
        number | UNINTERRUPTIBLE
    } else {
        number
    }
}

/// Whether a task that leaves its CPU with this state will come back: one that has ended does not, and its `task_struct` is the next task's
/// (`TASK_DEAD`, `EXIT_ZOMBIE`, `EXIT_DEAD` of `include/linux/sched.h`).
#[inline(always)]
pub const fn comes_back(task_state: u32) -> bool {
    const ENDED: u32 = 0x80 | 0x20 | 0x10;
    task_state & ENDED == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_has_ended_does_not_sleep() {
        assert!(comes_back(1) && comes_back(2) && comes_back(0x402));
        assert!(!comes_back(0x80) && !comes_back(0x20) && !comes_back(0x90));
    }

    #[test]
    fn a_cause_is_a_call_and_a_kind_of_sleep() {
        assert_eq!(cause_of(74, 1), 74);
        assert_eq!(cause_of(74, 2), 74 | UNINTERRUPTIBLE);
        assert_eq!(cause_of(NO_CALL, 0x402), NO_CALL);
        assert_eq!(cause_of(u32::MAX, 1), NO_CALL);
    }
}

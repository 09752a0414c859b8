//! Where tasks of chosen units are on their CPUs, sampled by a timer of each CPU, and where they sleep.

use aya_ebpf::{
    Global,
    bindings::bpf_pidns_info,
    helpers::generated::bpf_get_ns_current_pid_tgid,
    macros::{map, perf_event},
    maps::{HashMap, StackTrace},
    programs::{PerfEventContext, tracing::StackIdContext},
};
use observastack_abi::telemetry::{
    profile::{LOST_STACK, MAX_SAMPLES, MAX_STACKS, NO_STACK, PidNamespace, Sample, Slept},
    wanted,
};

use super::{ON_DEMAND, lose, trace, unit_of_current};
use crate::atomic::{fetch_add, fetch_increment};

/// `BPF_F_USER_STACK`.
const USER_STACK: u64 = 1 << 8;

/// Whose numbers processes are told by; set by the loader.
#[unsafe(no_mangle)]
static PID_NAMESPACE: Global<PidNamespace> = Global::new(PidNamespace {
    device: 0,
    inode: 0,
});

/// How often each was seen.
#[map]
static SAMPLES: HashMap<Sample, u64> = HashMap::with_max_entries(MAX_SAMPLES, ON_DEMAND);
/// How often and how long tasks slept at each.
#[map]
static SLEEPS: HashMap<Sample, Slept> = HashMap::with_max_entries(MAX_SAMPLES, ON_DEMAND);
/// Stacks, by a hash of theirs.
#[map]
static STACKS: StackTrace = StackTrace::with_max_entries(MAX_STACKS, 0);

/// A CPU's timer.
#[perf_event]
pub fn cpu_sample(ctx: PerfEventContext) -> u32 {
    let unit = unit_of_current();
    if trace::wanted(unit, wanted::PROFILE) != 0 {
        sample(&ctx, unit);
    }
    0
}

#[inline(always)]
fn sample(ctx: &PerfEventContext, unit: u32) {
    let key = stacks(ctx, unit);
    if let Some(count) = SAMPLES.get_ptr_mut(key) {
        fetch_increment(count);
    } else if SAMPLES.insert(key, 1, 0).is_err() {
        lose(|losses| &mut losses.series);
    }
}

/// A task that slept is about to run.
#[inline(always)]
pub(super) fn add_sleep(stacks: Sample, slept_ns: u64) {
    if let Some(slept) = SLEEPS.get_ptr_mut(stacks) {
        // SAFETY: a live map value, whose fields are only ever added to.
        let slept = unsafe { &mut *slept };
        fetch_increment(&mut slept.count);
        fetch_add(&mut slept.time_ns, slept_ns);
    } else {
        let first = Slept {
            count: 1,
            time_ns: slept_ns,
        };
        if SLEEPS.insert(stacks, first, 0).is_err() {
            lose(|losses| &mut losses.series);
        }
    }
}

/// Where the current task is.
#[inline(always)]
pub(super) fn stacks(ctx: &impl StackIdContext, unit: u32) -> Sample {
    Sample {
        unit,
        process: process(),
        kernel_stack: stack(ctx, 0),
        user_stack: stack(ctx, USER_STACK),
    }
}

#[inline(always)]
fn stack(ctx: &impl StackIdContext, flags: u64) -> i32 {
    /// `EEXIST`: another stack has its place. `ENOMEM`: there are too many.
    const LOST: [i64; 2] = [-17, -12];
    match ctx.get_stackid(&STACKS, flags) {
        Ok(id) => id as i32,
        Err(error) => {
            if !LOST.contains(&i64::from(error)) {
                return NO_STACK;
            }
            lose(|losses| &mut losses.series);
            LOST_STACK
        }
    }
}

/// The current process, as whoever reads this has it: names of functions are looked up below /proc.
#[inline(always)]
fn process() -> u32 {
    let namespace = PID_NAMESPACE.load();
    let mut info = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the structure is as long as is said.
    let found = unsafe {
        bpf_get_ns_current_pid_tgid(
            namespace.device,
            namespace.inode,
            &mut info,
            size_of::<bpf_pidns_info>() as u32,
        )
    };
    if found == 0 { info.tgid } else { 0 }
}

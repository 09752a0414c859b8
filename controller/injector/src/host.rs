//! What the kernel does not undo by itself: qdiscs, frozen cgroups, systemd properties, limits, device-mapper tables.
//!
//! The way of such a fault: [`hands`] (the one thread that does blocking work) arms a systemd timer ([`timer`]), renews
//! the [`lease`], and has the [`journal`] write down every [`change`] before it is made. Given back it is by whoever
//! comes first: the injector at the fault's end, the [`guard`] (a process of its own) when the end has passed or the
//! lease lapses, the timer, `ExecStopPost=`, the next start ([`recover`]), or `observastack-injector revert`.
//! [`actors`] are the faults that have to be kept up by work (pulses, load, destroyed connections): they end by themselves.

pub mod actors;
pub mod change;
mod changes;
mod command;
pub mod guard;
pub mod hands;
pub mod journal;
pub mod lease;
pub mod panic;
mod process;
pub mod stress;
pub mod tables;
pub mod timer;

use tracing::{info, warn};

pub use changes::{Clsact, DmTable, FdLimit, Fill, Fq, Freeze, Limited, Property, UnitStopped};
pub use command::CommandError;

/// The device and the inode at a path that this process may not look at.
pub(crate) fn device_and_inode(path: &str) -> Result<(u64, u64), CommandError> {
    let words = ["--dereference", "--format=%d %i", "--", path];
    let shown = command::run_as_admin("stat", &words)?;
    let mut numbers = shown.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(device)), Some(Ok(inode))) => Ok((device, inode)),
        _ => Err(CommandError::Failed {
            command: format!("stat {path}"),
            status: String::new(),
            stderr: shown,
        }),
    }
}

/// Gives back what an injector before this one left, and disarms its timers. Returns how many faults were reverted.
///
/// To be called before anything else is changed. What cannot be given back stays in the journal, for the guard to try again.
pub fn recover(journal: &journal::Journal, armer: &dyn timer::Armer) -> usize {
    let mut reverted = 0;
    for (id, result) in journal.revert_all() {
        match result {
            Ok(()) => {
                info!(fault = id, "fault {id}: what was left of it is given back");
                armer.disarm(id);
                reverted += 1;
            }
            Err(error) => {
                warn!(fault = id, %error, "fault {id}: not all of it could be given back")
            }
        }
    }
    reverted
}

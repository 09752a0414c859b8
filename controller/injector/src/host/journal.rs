//! What was changed, written down before it is changed: one JSON file per fault in a directory on disk.
//!
//! Injector, guard and timer all work on it, so everything that writes holds the directory's lock; reverting twice is
//! harmless. A process that is killed in the middle leaves an entry whose changes are made in part: reverting all of them is
//! right then too, because undoing what was not done does nothing.

mod entry;
mod store;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use entry::{Entry, State};
use store::{Lock, Store};
use tracing::{debug, warn};

use super::change::{Change, ChangeError, Relation};

/// How long a writer waits for the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the journal is, below the injector's state directory.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// Why the journal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file of the journal could not be read or written.
    #[error("the journal of changes {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process held the lock for too long.
    #[error("another process has kept the journal of changes {path} locked for {} ms", patience.as_millis())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// How long this one waited.
        patience: Duration,
    },
    /// The fault has an entry already.
    #[error("fault {0} has an entry in the journal of changes already")]
    Exists(u64),
    /// Another fault holds what this one wants to change.
    #[error("fault {other} already holds {what}; clear it first: observastack-ctl clear {other}")]
    Held {
        /// The other fault.
        other: u64,
        /// The change, in words.
        what: String,
    },
    /// A change was refused, and those before it were undone.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Something could not be undone; the entry stays, to be tried again.
    #[error("cannot undo {what}: {source}; it will be tried again")]
    Stuck {
        /// The change, in words.
        what: String,
        /// Why not.
        source: ChangeError,
    },
}

/// The journal: a directory.
#[derive(Clone, Debug)]
pub struct Journal {
    store: Store,
    boot_id: String,
    patience: Duration,
}

impl Journal {
    /// Opens the journal, and makes the directory if there is none.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot_id = fs::read_to_string(path).map_err(|source| JournalError::Io {
            path: path.into(),
            source,
        })?;
        Self::open_in_boot(directory, boot_id.trim())
    }

    /// Opens the journal as if the kernel had been booted with this id.
    pub fn open_in_boot(directory: &Path, boot_id: &str) -> Result<Self, JournalError> {
        Ok(Self {
            store: Store::open(directory)?,
            boot_id: boot_id.to_owned(),
            patience: PATIENCE,
        })
    }

    /// The same journal, but waiting only this long for others.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A new entry of this boot, to be given to [`Journal::apply`].
    #[must_use]
    pub fn entry(&self, id: u64, unit: &str, end_monotonic_ns: u64, changes: Vec<Change>) -> Entry {
        Entry {
            id,
            unit: unit.to_owned(),
            boot_id: self.boot_id.clone(),
            end_monotonic_ns,
            changes,
            state: State::Applying,
        }
    }

    /// Every entry, by fault. Does not wait for anybody. Corrupt ones are moved aside.
    pub fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.store.entries()
    }

    /// Whether nothing is journalled.
    pub fn is_empty(&self) -> Result<bool, JournalError> {
        Ok(self.store.ids()?.is_empty())
    }

    /// Whether the fault is journalled: its changes hold, or are about to.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.store.has(id)
    }

    /// Whether an entry is of the running kernel's boot: the clock of others means nothing.
    #[must_use]
    pub fn is_of_this_boot(&self, entry: &Entry) -> bool {
        entry.boot_id == self.boot_id
    }

    /// Writes the entry down, then makes its changes in order. When one fails, those made are undone and the entry goes.
    pub fn apply(&self, entry: Entry) -> Result<(), JournalError> {
        let lock = self.lock()?;
        if self.has(entry.id) {
            return Err(JournalError::Exists(entry.id));
        }
        let others = self.store.entries()?;
        let mut entry = prepare(entry, &others)?;
        self.store.write(&lock, &entry)?;
        for (at, change) in entry.changes.iter().enumerate() {
            if let Err(error) = change.apply() {
                // The failed one as well: it may have been made in part.
                let made = &entry.changes[..=at];
                if let Err(stuck) = undo(made, &others) {
                    warn!(fault = entry.id, error = %stuck, "a failed fault leaves something behind");
                    return Err(error.into());
                }
                self.store.remove(&lock, entry.id)?;
                return Err(error.into());
            }
        }
        entry.state = State::Applied;
        self.store.write(&lock, &entry)
    }

    /// Undoes a fault's changes in reverse and forgets it. A fault that has no entry is undone already.
    pub fn revert(&self, id: u64) -> Result<(), JournalError> {
        let lock = self.lock()?;
        let entries = self.store.entries()?;
        let (mut found, others): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.id == id);
        let Some(entry) = found.pop() else {
            return Ok(());
        };
        if self.is_of_this_boot(&entry) {
            undo(&entry.changes, &others)?;
        } else {
            // The kernel that the other changes were made to is gone.
            let left = entry.changes.into_iter().filter(Change::survives_reboot);
            undo(&left.collect::<Vec<_>>(), &others)?;
        }
        self.store.remove(&lock, id)
    }

    /// Undoes everything, the latest fault first, and says what became of each.
    pub fn revert_all(&self) -> Vec<(u64, Result<(), JournalError>)> {
        let mut ids = match self.store.ids() {
            Ok(ids) => ids,
            Err(error) => return vec![(0, Err(error))],
        };
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.into_iter().map(|id| (id, self.revert(id))).collect()
    }

    /// Takes in what has come since a fault was applied: processes and cgroups of a restarted unit, written down first.
    /// False where the fault has been reverted by somebody else.
    pub fn follow(&self, id: u64) -> Result<bool, JournalError> {
        // Reading needs no lock, and most of the time there is nothing to do.
        let Some(entry) = self.store.read(id)? else {
            return Ok(false);
        };
        let has_grown = entry.changes.iter().any(|change| change.grown().is_some());
        if !has_grown && !entry.changes.iter().any(Change::fades) {
            return Ok(true);
        }
        let lock = self.lock()?;
        let Some(mut entry) = self.store.read(id)? else {
            return Ok(false);
        };
        let mut grown = false;
        for change in &mut entry.changes {
            if let Some(larger) = change.grown() {
                *change = larger;
                grown = true;
            }
        }
        if grown {
            debug!(fault = id, "the fault follows its unit's new processes");
            self.store.write(&lock, &entry)?;
        }
        entry
            .changes
            .iter()
            .filter(|change| grown || change.fades())
            .try_for_each(Change::apply)?;
        Ok(true)
    }

    /// Does something that the fault's entry undoes, if the entry is still there; nobody reverts it meanwhile. `None` where
    /// somebody has.
    pub fn while_held<T>(
        &self,
        id: u64,
        work: impl FnOnce() -> T,
    ) -> Result<Option<T>, JournalError> {
        let _lock = self.lock()?;
        Ok(self.has(id).then(work))
    }

    fn lock(&self) -> Result<Lock, JournalError> {
        self.store.lock(self.patience)
    }
}

/// Checks each change against those of other faults, and completes it.
fn prepare(mut entry: Entry, others: &[Entry]) -> Result<Entry, JournalError> {
    let mut changes = Vec::with_capacity(entry.changes.len());
    for change in entry.changes {
        if let Some(other) = holder(&change, others, Relation::Conflict) {
            return Err(JournalError::Held {
                other,
                what: change.describe(),
            });
        }
        let held = holder(&change, others, Relation::Shared).is_some();
        changes.extend(change.prepare(held)?);
    }
    entry.changes = changes;
    Ok(entry)
}

/// Another fault whose change stands in this relation to ours.
fn holder(change: &Change, others: &[Entry], relation: Relation) -> Option<u64> {
    others
        .iter()
        .find(|other| {
            other
                .changes
                .iter()
                .any(|held| change.relation(held) == relation)
        })
        .map(|other| other.id)
}

/// Undoes changes in reverse, but for those that another fault still wants. All are tried, the first failure is told.
fn undo(changes: &[Change], others: &[Entry]) -> Result<(), JournalError> {
    let mut result = Ok(());
    for change in changes.iter().rev() {
        if holder(change, others, Relation::Shared).is_some() {
            continue;
        }
        result = result.and(change.revert().map_err(|source| JournalError::Stuck {
            what: change.describe(),
            source,
        }));
    }
    result
}

#[cfg(test)]
mod tests;

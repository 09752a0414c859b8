//! A change to the host that nobody undoes but us, as it stands in the journal.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    changes::{Clsact, DmTable, FdLimit, Fill, Fq, Freeze, Property, UnitStopped},
    command::CommandError,
};

/// One change. Applying and reverting can each be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// An interface's root qdisc is fq.
    Fq(Fq),
    /// An interface has a clsact qdisc.
    Clsact(Clsact),
    /// A unit's cgroups are frozen.
    Freeze(Freeze),
    /// A unit has a run-time property.
    Property(Property),
    /// A unit's processes have a lower limit of open files.
    FdLimit(FdLimit),
    /// A unit is stopped.
    UnitStopped(UnitStopped),
    /// A file system is full.
    Fill(Fill),
    /// A device-mapper device has another table.
    DmTable(DmTable),
}

/// How two changes stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They have nothing to do with each other.
    Apart,
    /// They are the same, and the last one to go undoes it.
    Shared,
    /// They cannot hold at the same time.
    Conflict,
}

/// Why a change was not made, or not undone.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It would do harm, or makes no sense.
    #[error("{field} `{value}` is refused: {right}")]
    Refused {
        /// What was asked for, by name.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        right: String,
    },
    /// A program did not do its work.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The kernel refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A process's limit could not be set.
    #[error("cannot set the limit of process {pid}: {source}")]
    Limit {
        /// The process.
        pid: i32,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ChangeError {
    pub(crate) fn refused(
        field: &'static str,
        value: impl ToString,
        right: impl Into<String>,
    ) -> Self {
        Self::Refused {
            field,
            value: value.to_string(),
            right: right.into(),
        }
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

impl Change {
    /// Checks the change and completes it with what it will overwrite; `None` where there is nothing to do that is ours.
    ///
    /// `held`: another entry of the journal has the same change.
    pub(crate) fn prepare(self, held: bool) -> Result<Option<Self>, ChangeError> {
        Ok(match self {
            Self::Fq(change) => Some(Self::Fq(change.prepare()?)),
            Self::Clsact(change) => change.prepare(held)?.map(Self::Clsact),
            Self::Freeze(change) => Some(Self::Freeze(change)),
            Self::Property(change) => Some(Self::Property(change.prepare()?)),
            Self::FdLimit(change) => Some(Self::FdLimit(change.prepare())),
            Self::UnitStopped(change) => Some(Self::UnitStopped(change.prepare(held)?)),
            Self::Fill(change) => Some(Self::Fill(change.prepare()?)),
            Self::DmTable(change) => Some(Self::DmTable(change.prepare()?)),
        })
    }

    /// Makes the change.
    pub fn apply(&self) -> Result<(), ChangeError> {
        match self {
            Self::Fq(change) => change.apply(),
            Self::Clsact(change) => change.apply(),
            Self::Freeze(change) => change.apply(),
            Self::Property(change) => change.apply(),
            Self::FdLimit(change) => change.apply(),
            Self::UnitStopped(change) => change.apply(),
            Self::Fill(change) => change.apply(),
            Self::DmTable(change) => change.apply(),
        }
    }

    /// Undoes the change. What is gone by itself (a cgroup, an interface, a process) counts as undone.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match self {
            Self::Fq(change) => change.revert(),
            Self::Clsact(change) => change.revert(),
            Self::Freeze(change) => change.revert(),
            Self::Property(change) => change.revert(),
            Self::FdLimit(change) => change.revert(),
            Self::UnitStopped(change) => change.revert(),
            Self::Fill(change) => change.revert(),
            Self::DmTable(change) => change.revert(),
        }
    }

    /// How the change stands to one that another fault holds.
    #[must_use]
    pub fn relation(&self, other: &Self) -> Relation {
        let (same, relation) = match (self, other) {
            (Self::Fq(a), Self::Fq(b)) => (a.dev == b.dev, Relation::Shared),
            (Self::Clsact(a), Self::Clsact(b)) => (a.dev == b.dev, Relation::Shared),
            (Self::Freeze(a), Self::Freeze(b)) => (a.unit == b.unit, Relation::Shared),
            (Self::UnitStopped(a), Self::UnitStopped(b)) => (a.unit == b.unit, Relation::Shared),
            (Self::Property(a), Self::Property(b)) => {
                (a.unit == b.unit && a.name == b.name, Relation::Conflict)
            }
            (Self::FdLimit(a), Self::FdLimit(b)) => (a.unit == b.unit, Relation::Conflict),
            (Self::Fill(a), Self::Fill(b)) => (a.directory() == b.directory(), Relation::Conflict),
            (Self::DmTable(a), Self::DmTable(b)) => (a.device == b.device, Relation::Conflict),
            _ => (false, Relation::Apart),
        };
        if same { relation } else { Relation::Apart }
    }

    /// Whether a reboot leaves the change in place; everything else lives in the kernel or in `/run`.
    #[must_use]
    pub fn survives_reboot(&self) -> bool {
        matches!(self, Self::Fill(_))
    }

    /// The change, extended by what has come since it was applied (processes of a restarted unit); `None` where nothing has.
    pub(crate) fn grown(&self) -> Option<Self> {
        match self {
            Self::FdLimit(change) => change.grown().map(Self::FdLimit),
            _ => None,
        }
    }

    /// Whether the change has to be made again after a restart of its unit.
    pub(crate) fn fades(&self) -> bool {
        matches!(self, Self::Freeze(_))
    }

    /// In words, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Fq(change) => format!("fq on {}", change.dev),
            Self::Clsact(change) => format!("clsact on {}", change.dev),
            Self::Freeze(change) => format!("{} frozen", change.unit),
            Self::Property(change) => format!("{} of {}", change.name, change.unit),
            Self::FdLimit(change) => format!("the limit of open files of {}", change.unit),
            Self::UnitStopped(change) => format!("{} stopped", change.unit),
            Self::Fill(change) => format!("{} filled", change.directory().display()),
            Self::DmTable(change) => format!("the table of {}", change.device),
        }
    }
}

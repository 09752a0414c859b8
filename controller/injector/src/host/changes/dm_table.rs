//! A device-mapper device gets another table: reads, writes and flushes are late (dm-delay) or fail (dm-flakey).
//!
//! Needs `dmsetup` with `CAP_SYS_ADMIN` (systemd runs it in a unit of its own, see `command.rs`), and a device whose table
//! is one plain `linear` line, which the playbook can put PostgreSQL's data on. Undone by loading the old table. The swap is
//! one call: a device is never left suspended. File systems are not frozen for it, because a device that fails cannot sync.

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::host::{change::ChangeError, command, tables};

/// What `dmsetup` says about a device that is gone.
const NO_DEVICE: [&str; 2] = ["not found", "does not exist"];

/// Another table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmTable {
    /// The device's name below `/dev/mapper`.
    pub device: String,
    /// Its table before: one `linear` line.
    pub original_table: String,
    /// Its table while the fault holds.
    pub table: String,
}

impl DmTable {
    /// The present table of a device, which must be one `linear` line: what [`tables`] makes others from.
    pub fn read(device: &str) -> Result<tables::Linear, ChangeError> {
        check_name("device", device, 127)?;
        let table = table(device)?;
        table.parse().map_err(|error: tables::TableError| {
            ChangeError::refused("device", device, error.to_string())
        })
    }

    pub(crate) fn prepare(self) -> Result<Self, ChangeError> {
        let present = Self::read(&self.device)?.to_string();
        if present == self.original_table {
            Ok(self)
        } else {
            Err(ChangeError::refused(
                "original_table",
                &self.original_table,
                format!("the present table of {}: {present}", self.device),
            ))
        }
    }

    /// Loads the fault's table.
    pub fn apply(&self) -> Result<(), ChangeError> {
        if table(&self.device)? == self.table {
            return Ok(());
        }
        self.swap(&self.table).map_err(|error| match error {
            ChangeError::Command(failed)
                if self.table.contains(tables::ERROR_READS)
                    && failed.says(&["Invalid argument"]) =>
            {
                ChangeError::refused(
                    "reads",
                    "error",
                    "this kernel's dm-flakey cannot fail reads alone (6.1 cannot; newer ones have `error_reads`): let reads and writes fail, or writes",
                )
            }
            error => error,
        })
    }

    /// Loads the old table.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match table(&self.device) {
            Err(ChangeError::Command(error)) if error.says(&NO_DEVICE) => Ok(()),
            Err(error) => Err(error),
            Ok(present) if present == self.original_table => {
                // A table that was loaded but not yet used.
                command::run_as_admin("dmsetup", &["clear", &self.device])?;
                Ok(())
            }
            Ok(_) => self.swap(&self.original_table),
        }
    }

    fn swap(&self, table: &str) -> Result<(), ChangeError> {
        command::run_as_admin("dmsetup", &["load", &self.device, "--table", table])?;
        // A device that is not suspended is suspended, swapped and resumed by the kernel in this one call.
        command::run_as_admin(
            "dmsetup",
            &["resume", "--noflush", "--nolockfs", &self.device],
        )?;
        Ok(())
    }
}

fn table(device: &str) -> Result<String, ChangeError> {
    Ok(command::run_as_admin("dmsetup", &["table", device])?
        .trim()
        .to_owned())
}

//! A unit's cgroups are frozen: no process of it runs, none is told.
//!
//! Needs write access to the unified hierarchy (`ProtectControlGroups=no`) and kernel 5.2. Undone by writing 0; a cgroup
//! that is gone is thawed.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::change::ChangeError;

/// Frozen cgroups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The unit.
    pub unit: String,
    /// Its cgroups, as absolute paths.
    pub cgroups: Vec<PathBuf>,
    /// An actor freezes and thaws in turn: here it is only journalled that the unit has to be thawed in the end.
    #[serde(default)]
    pub pulsed: bool,
}

impl Freeze {
    /// Freezes, unless an actor does.
    pub fn apply(&self) -> Result<(), ChangeError> {
        if self.pulsed {
            Ok(())
        } else {
            self.write(true)
        }
    }

    /// Thaws.
    pub fn revert(&self) -> Result<(), ChangeError> {
        self.write(false)
    }

    /// Freezes or thaws every cgroup that is there. All are tried, the first failure is told.
    pub(crate) fn write(&self, frozen: bool) -> Result<(), ChangeError> {
        let mut result = Ok(());
        for cgroup in &self.cgroups {
            let path = cgroup.join("cgroup.freeze");
            let written = open(&path).and_then(|mut file| {
                io::Write::write_all(&mut file, if frozen { b"1" } else { b"0" })
            });
            match written {
                Ok(()) => {}
                // The second is what the kernel says about a cgroup that was removed while its file was open.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || error.raw_os_error()
                            == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
                Err(error) => {
                    let told = ChangeError::io("write", path)(error);
                    result = result.and(Err(told));
                }
            }
        }
        result
    }
}

/// Never creates the file: a directory that is not a cgroup is not given one.
fn open(path: &std::path::Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_that_are_there_are_frozen_and_thawed_and_others_do_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cgroup.freeze");
        fs::write(&file, "0").unwrap();
        let freeze = Freeze {
            unit: "shop.service".to_owned(),
            cgroups: vec!["/nonexistent/cgroup".into(), directory.path().to_owned()],
            pulsed: false,
        };
        freeze.apply().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        freeze.apply().unwrap();
        freeze.revert().unwrap();
        freeze.revert().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "0");
        assert!(!std::path::Path::new("/nonexistent").exists());
    }

    #[test]
    fn a_pulsed_freeze_is_left_to_its_actor_but_thawed_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cgroup.freeze");
        fs::write(&file, "0").unwrap();
        let freeze = Freeze {
            unit: "shop.service".to_owned(),
            cgroups: vec![directory.path().to_owned()],
            pulsed: true,
        };
        freeze.apply().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "0");
        freeze.write(true).unwrap();
        freeze.revert().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "0");
    }
}

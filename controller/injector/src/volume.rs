//! The data volume: a device-mapper device that the playbook has put the database on.

use std::{fs, path::PathBuf};

use crate::host::{DmTable, tables::Linear};

/// The device's name below `/dev/mapper`.
const NAME: &str = "observastack-data";

/// The data volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Its name below `/dev/mapper`.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// Its table, where that is the plain one: a fault may hold another.
    pub(crate) table: Option<Linear>,
}

/// The volume as it is mounted now.
pub(crate) fn find() -> Option<Volume> {
    let mount_point = mount_point()?;
    Some(Volume {
        device: NAME.to_owned(),
        mount_point,
        table: DmTable::read(NAME).ok(),
    })
}

/// Where the volume is mounted; costs less than [`find`], which asks device-mapper.
pub(crate) fn mount_point() -> Option<PathBuf> {
    parse(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Looks for the volume among mounts (`proc_pid_mountinfo(5)`).
fn parse(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let device = source.split(' ').nth(1)?;
        (device == format!("/dev/mapper/{NAME}")).then_some(())?;
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_is_found_by_its_device() {
        let mounts = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                      45 22 253:0 / /var/lib/observastack/postgresql rw,relatime shared:9 - ext4 /dev/mapper/observastack-data rw\n";
        let mount_point = parse(mounts).unwrap();
        assert_eq!(
            mount_point,
            PathBuf::from("/var/lib/observastack/postgresql")
        );
        assert_eq!(parse("22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"), None);
        assert_eq!(parse(""), None);
    }
}

//! File systems by name.

use std::{fmt, str::FromStr};

use crate::ValueError;

/// Names and magic numbers (statfs(2)).
const ALL: &[(&str, u64)] = &[
    ("ext4", 0xEF53),
    ("xfs", 0x5846_5342),
    ("btrfs", 0x9123_683E),
    ("tmpfs", 0x0102_1994),
    ("overlayfs", 0x794C_7630),
    ("nfs", 0x6969),
    ("proc", 0x9FA0),
    ("sysfs", 0x6265_6572),
    ("f2fs", 0xF2F5_2010),
];

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSystem(usize);

impl FileSystem {
    /// Its name.
    pub fn name(self) -> &'static str {
        ALL[self.0].0
    }

    /// What the kernel has in `super_block::s_magic` (ext2 and ext3 share ext4's).
    pub fn magic(self) -> u64 {
        ALL[self.0].1
    }
}

impl FromStr for FileSystem {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let found = ALL.iter().position(|(name, _)| *name == text).map(Self);
        found.ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
            ValueError::new(text, format!("one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

text_in_json!(FileSystem);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_are_the_kernels() {
        // libc has them from the kernel's headers.
        for (name, magic) in [
            ("ext4", libc::EXT4_SUPER_MAGIC),
            ("tmpfs", libc::TMPFS_MAGIC),
            ("nfs", libc::NFS_SUPER_MAGIC),
            ("proc", libc::PROC_SUPER_MAGIC),
            ("overlayfs", libc::OVERLAYFS_SUPER_MAGIC),
            ("btrfs", libc::BTRFS_SUPER_MAGIC),
            ("xfs", libc::XFS_SUPER_MAGIC),
            ("f2fs", libc::F2FS_SUPER_MAGIC),
            ("sysfs", libc::SYSFS_MAGIC),
        ] {
            let read: FileSystem = name.parse().unwrap();
            assert_eq!(i64::try_from(read.magic()).unwrap(), magic, "{name}");
        }
        assert!(
            "ntfs"
                .parse::<FileSystem>()
                .unwrap_err()
                .allowed
                .contains("btrfs")
        );
    }
}

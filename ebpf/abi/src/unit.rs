//! Units as the kernel knows them: an index, found by cgroup id or by name.

/// How many units can be known at once; unit indices run from 0 to this, exclusive.
pub const MAX_UNITS: u32 = 64;

/// How many cgroups below those units can be known at once (a unit may have cgroups of its own below it).
pub const MAX_CGROUPS: u32 = 4096;

/// Bytes of a [`UnitName`], its terminating zero included.
///
/// Unit names may have 255 bytes in systemd; the lab's own have fewer than 40, and a longer one is refused.
pub const UNIT_NAME_LEN: usize = 64;

/// A unit's full name (`observastack-api@1.service`), padded with zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitName {
    /// The name's bytes, zero-padded; the last one is always zero.
    pub bytes: [u8; UNIT_NAME_LEN],
}

const _: () = assert!(size_of::<UnitName>() == UNIT_NAME_LEN);

impl UnitName {
    /// Makes a name, or `None` where it is empty or has more than 63 bytes.
    pub fn new(name: &str) -> Option<Self> {
        let source = name.as_bytes();
        if source.is_empty() || source.len() >= UNIT_NAME_LEN {
            return None;
        }
        let mut bytes = [0; UNIT_NAME_LEN];
        bytes[..source.len()].copy_from_slice(source);
        Some(Self { bytes })
    }
}

/// Where the kernel's own structures keep what the unit programs read, in bytes from each one's start.
///
/// Offsets differ between kernels; the loader takes them from the running kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupOffsets {
    /// `struct cgroup::kn`.
    pub cgroup_kn: u32,
    /// `struct cgroup::root`.
    pub cgroup_root: u32,
    /// `struct cgroup::self`, the embedded `cgroup_subsys_state`.
    pub cgroup_self: u32,
    /// `struct cgroup_subsys_state::parent`.
    pub css_parent: u32,
    /// `struct cgroup_root::hierarchy_id`: 0 is the unified hierarchy.
    pub root_hierarchy_id: u32,
    /// `struct kernfs_node::id`.
    pub kernfs_id: u32,
    /// `struct kernfs_node::name`.
    pub kernfs_name: u32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<CgroupOffsets>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_padded_with_zeros() {
        let name = UnitName::new("observastack-api@1.service").unwrap();
        assert!(name.bytes.starts_with(b"observastack-api@1.service\0"));
        assert_eq!(name.bytes[UNIT_NAME_LEN - 1], 0);
    }

    #[test]
    fn a_name_keeps_room_for_its_terminating_zero() {
        assert!(UnitName::new(&"x".repeat(63)).is_some());
        assert!(UnitName::new(&"x".repeat(64)).is_none());
        assert!(UnitName::new("").is_none());
    }
}

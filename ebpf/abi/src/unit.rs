//! Units as the kernel knows them: an index, found by cgroup id or by name.

/// How many units can be known at once; unit indices run from 0 to this, exclusive.
pub const MAX_UNITS: u32 = 64;

/// How many cgroups below those units can be known at once (a unit may have cgroups of its own below it).
pub const MAX_CGROUPS: u32 = 4096;

/// How many places the table in front of the cgroups' table has. A power of two, well above the number of cgroups that a lab has.
pub const CGROUP_PLACES: u32 = 8192;

/// What a place has that could not be written down in it: only the table itself knows.
pub const ASK_THE_TABLE: u64 = u64::MAX - 1;

/// No unit.
pub const NO_UNIT: u32 = 0xfe;

/// A cgroup's place in the table that is asked first: an array, which costs a few instructions where a hash table costs a call.
///
/// A place that was never written has 0, and no cgroup of a unit belongs there. Once written it never becomes 0 again, so what it
/// says is either right or leads to the table itself; whoever changes both writes the place first.
#[inline(always)]
pub const fn place_of(cgroup_id: u64) -> u32 {
    cgroup_id as u32 & (CGROUP_PLACES - 1)
}

/// What is written into a cgroup's place: its id and its unit, or [`NO_UNIT`], in one word, which programs write whole.
#[inline(always)]
pub const fn place_entry(cgroup_id: u64, unit: u32) -> u64 {
    if cgroup_id >> 56 == 0 && (unit < MAX_UNITS || unit == NO_UNIT) {
        cgroup_id << 8 | (unit as u64 + 1)
    } else {
        ASK_THE_TABLE
    }
}

/// What a place says of a cgroup: its unit, [`NO_UNIT`], or any other number where the place is another cgroup's and the table has
/// to be asked.
#[inline(always)]
pub const fn unit_in_place(entry: u64, cgroup_id: u64) -> u32 {
    let unit = entry.wrapping_sub(cgroup_id << 8 | 1);
    if cgroup_id >> 56 == 0 && unit <= NO_UNIT as u64 {
        unit as u32
    } else {
        u32::MAX
    }
}

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
const _: () = assert!(CGROUP_PLACES.is_power_of_two());
const _: () = assert!(MAX_UNITS < NO_UNIT && NO_UNIT < u8::MAX as u32);

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
    use proptest::prelude::*;

    use super::*;

    fn is_known(unit: u32) -> bool {
        unit < MAX_UNITS || unit == NO_UNIT
    }

    proptest! {
        #[test]
        fn a_place_tells_the_unit_of_its_own_cgroup_only(id in 0u64..1 << 56, other: u64, unit in 0..=MAX_UNITS) {
            let unit = if unit == MAX_UNITS { NO_UNIT } else { unit };
            let entry = place_entry(id, unit);
            prop_assert!(entry != 0 && entry != ASK_THE_TABLE);
            prop_assert_eq!(unit_in_place(entry, id), unit);
            for other in [other, other >> 8, id + 1, id | 1 << 56, id.wrapping_sub(1)] {
                prop_assert!(other == id || !is_known(unit_in_place(entry, other)));
            }
        }

        #[test]
        fn a_place_without_an_entry_leads_to_the_table(id: u64) {
            for id in [id, id >> 8, 0, (1 << 56) - 1] {
                prop_assert!(!is_known(unit_in_place(0, id)));
                prop_assert!(!is_known(unit_in_place(ASK_THE_TABLE, id)));
            }
        }

        #[test]
        fn an_id_that_does_not_fit_is_left_to_the_table(id in 1u64 << 56.., unit in 0..MAX_UNITS) {
            prop_assert_eq!(place_entry(id, unit), ASK_THE_TABLE);
        }
    }

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

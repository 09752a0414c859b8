//! Which unit a cgroup belongs to, kept current by the kernel's own cgroup tracepoints.
//!
//! systemd makes a new cgroup at each start of a unit. `cgroup_mkdir` runs before any process enters
//! it, so a restarted unit is known, and faulted, from its first packet. Cgroups below a unit's own belong to that unit.

use aya_ebpf::{
    Global,
    helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes},
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap, Queue},
    programs::RawTracePointContext,
};
use observastack_abi::unit::{
    CGROUP_PLACES, CgroupOffsets, MAX_CGROUPS, MAX_UNITS, NO_UNIT, UNIT_NAME_LEN, UnitName,
    place_entry, place_of, unit_in_place,
};

/// Where this kernel keeps what is read below; set by the loader.
#[unsafe(no_mangle)]
static CGROUP_OFFSETS: Global<CgroupOffsets> = Global::new(CgroupOffsets {
    cgroup_kn: 0,
    cgroup_root: 0,
    cgroup_self: 0,
    css_parent: 0,
    root_hierarchy_id: 0,
    kernfs_id: 0,
    kernfs_name: 0,
    _reserved: 0,
});

/// Whether a unit that nobody has named gets an index by itself; set by the loader. Faults want to know units that rules name,
/// telemetry wants to know all.
#[unsafe(no_mangle)]
static ADOPT_UNITS: Global<u32> = Global::new(0);

/// Indices that no unit has, for such units.
#[map]
static FREE_UNITS: Queue<u32> = Queue::with_max_entries(MAX_UNITS, 0);
/// Cgroup ids of the target slices; the value is unused.
#[map]
static SLICES: HashMap<u64, u32> = HashMap::with_max_entries(16, 0);
/// Indices of units that rules name, by unit name.
#[map]
static UNIT_NAMES: HashMap<UnitName, u32> = HashMap::with_max_entries(MAX_UNITS, 0);
/// Indices of units, by the ids of their cgroups.
#[map]
static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(MAX_CGROUPS, 0);
/// What is asked before [`CGROUPS`]: most events belong to a unit, or to none, and cost no call then.
#[map]
static CGROUP_ENTRIES: Array<u64> = Array::with_max_entries(CGROUP_PLACES, 0);
/// Room for one name: it is too large for comfort on a 512-byte stack.
#[map]
static SCRATCH: aya_ebpf::maps::PerCpuArray<UnitName> =
    aya_ebpf::maps::PerCpuArray::with_max_entries(1, 0);
/// Cgroups of units that could not be kept because [`CGROUPS`] was full.
#[map]
static CGROUPS_LOST: Array<u64> = Array::with_max_entries(1, 0);

/// The unit that a cgroup belongs to, if it is one that rules name.
#[inline(always)]
pub(crate) fn index_of(cgroup_id: u64) -> Option<u32> {
    let entry = *CGROUP_ENTRIES.get(place_of(cgroup_id))?;
    if entry == 0 {
        return None;
    }
    let unit = unit_in_place(entry, cgroup_id);
    if unit < MAX_UNITS {
        return Some(unit);
    }
    if unit == NO_UNIT {
        return None;
    }
    // SAFETY: the value is copied at once; an entry removed meanwhile would be a cgroup that just ended.
    let index = *unsafe { CGROUPS.get(cgroup_id) }?;
    // The verifier can't know what the loader put there.
    (index < MAX_UNITS).then_some(index)
}

/// Writes what a cgroup's place is to say; before the table itself changes.
#[inline(always)]
fn write_place(cgroup_id: u64, entry: u64) {
    if let Some(place) = CGROUP_ENTRIES.get_ptr_mut(place_of(cgroup_id)) {
        // SAFETY: the pointer is into a live map value, and one word is written whole.
        unsafe { place.write_volatile(entry) };
    }
}

/// A new cgroup: if its parent is a target slice, its name may be a unit's; if its parent belongs to a unit, so does it.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let _ = on_mkdir(ctx.arg::<*const u8>(0));
    0
}

/// A cgroup is gone, and its id won't come back.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    let _ = on_rmdir(ctx.arg::<*const u8>(0));
    0
}

#[inline(always)]
fn on_mkdir(cgroup: *const u8) -> Option<()> {
    let offsets = CGROUP_OFFSETS.load();
    let kernfs = unified_kernfs_of(cgroup, &offsets)?;
    let parent_css: *const u8 = read(cgroup, offsets.cgroup_self + offsets.css_parent)?;
    let parent = parent_css.wrapping_sub(offsets.cgroup_self as usize);
    let parent_id: u64 = read(read(parent, offsets.cgroup_kn)?, offsets.kernfs_id)?;
    let id: u64 = read(kernfs, offsets.kernfs_id)?;

    let unit = if let Some(unit) = index_of(parent_id) {
        unit
    } else {
        // SAFETY: only asks whether there is such an entry.
        unsafe { SLICES.get(parent_id) }?;
        let name_at: *const u8 = read(kernfs, offsets.kernfs_name)?;
        let name = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: the value is this CPU's own, and a raw tracepoint is not preempted by itself.
        let bytes: &mut [u8; UNIT_NAME_LEN] = unsafe { &mut (*name).bytes };
        *bytes = [0; UNIT_NAME_LEN];
        // SAFETY: reads kernel memory with faults handled, at most the buffer's length.
        let length = unsafe { bpf_probe_read_kernel_str_bytes(name_at, bytes) }
            .ok()?
            .len();
        // A longer name is cut to fit, and would pass for the unit whose name is its beginning.
        const LONGEST: usize = UNIT_NAME_LEN - 1;
        if length == LONGEST && read::<u8>(name_at, LONGEST as u32)? != 0 {
            return None;
        }
        // SAFETY: both map values live as long as the program runs.
        match unsafe { UNIT_NAMES.get(&*name) } {
            Some(unit) => *unit,
            None => adopt(name)?,
        }
    };
    write_place(id, place_entry(id, unit));
    if CGROUPS.insert(id, unit, 0).is_err()
        && let Some(lost) = CGROUPS_LOST.get_ptr_mut(0)
    {
        crate::atomic::fetch_increment(lost);
    }
    Some(())
}

/// Gives a unit an index. Cgroups are made one after the other (`cgroup_mutex`), so nobody else is doing this for the same name.
#[inline(always)]
fn adopt(name: *const UnitName) -> Option<u32> {
    if ADOPT_UNITS.load() == 0 {
        return None;
    }
    let Some(unit) = FREE_UNITS.pop().ok()?.filter(|unit| *unit < MAX_UNITS) else {
        if let Some(lost) = CGROUPS_LOST.get_ptr_mut(0) {
            crate::atomic::fetch_increment(lost);
        }
        return None;
    };
    // SAFETY: the name is in this CPU's own map value, which lives as long as the program runs.
    UNIT_NAMES.insert(unsafe { &*name }, unit, 0).ok()?;
    Some(unit)
}

#[inline(always)]
fn on_rmdir(cgroup: *const u8) -> Option<()> {
    let offsets = CGROUP_OFFSETS.load();
    let kernfs = unified_kernfs_of(cgroup, &offsets)?;
    let id: u64 = read(kernfs, offsets.kernfs_id)?;
    // SAFETY: only asks whether there is such an entry.
    unsafe { CGROUPS.get(id) }?;
    write_place(id, place_entry(id, NO_UNIT));
    let _ = CGROUPS.remove(id);
    Some(())
}

/// The id of a cgroup of the unified hierarchy.
#[inline(always)]
#[allow(dead_code, reason = "only telemetry finds units by a cgroup's address")]
pub(crate) fn id_of(cgroup: *const u8) -> Option<u64> {
    let offsets = CGROUP_OFFSETS.load();
    read(read(cgroup, offsets.cgroup_kn)?, offsets.kernfs_id)
}

/// The kernfs node of a cgroup on the unified hierarchy; ids of cgroup v1 hierarchies may be the same numbers.
#[inline(always)]
fn unified_kernfs_of(cgroup: *const u8, offsets: &CgroupOffsets) -> Option<*const u8> {
    let root: *const u8 = read(cgroup, offsets.cgroup_root)?;
    let hierarchy: i32 = read(root, offsets.root_hierarchy_id)?;
    if hierarchy != 0 {
        return None;
    }
    read(cgroup, offsets.cgroup_kn)
}

/// Reads a member of a kernel structure.
#[inline(always)]
pub(crate) fn read<T>(base: *const u8, offset: u32) -> Option<T> {
    // SAFETY: `bpf_probe_read_kernel` handles faults; the loader took the offsets from this kernel's BTF.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }.ok()
}

//! The units of the observed slices: found at start, given indices by the kernel's own tracepoints from then on.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, Queue},
};
use observastack_abi::unit::{MAX_UNITS, UnitName};

use super::event::text;
use crate::{
    cgroup::{self, Slice},
    units::{enter_cgroup, set_slice},
};

/// So many indices are kept free for units to come.
const SPARE: usize = 16;
/// A unit that is gone for so long is no restart.
const GONE: Duration = Duration::from_secs(10);

/// Units and their indices.
///
/// A unit keeps its index, and with it what was counted, through restarts. Only when free indices run short, those of units are taken
/// back that have been gone for longest: a lab may see more transient units in its life than there are indices.
pub(crate) struct ObservedUnits {
    names: HashMap<MapData, UnitName, u32>,
    cgroups: HashMap<MapData, u64, u32>,
    /// What the programs ask before `cgroups`.
    places: Array<MapData, u64>,
    slices: HashMap<MapData, u64, u32>,
    /// Both the kernel and user space take indices from here.
    free: Queue<MapData, u32>,
    lost: Array<MapData, u64>,
    observed: Vec<Slice>,
    known: BTreeMap<u32, Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    /// Since when it has no cgroup.
    gone_since: Option<Instant>,
}

/// A unit that has a cgroup.
struct Present {
    name: String,
    path: PathBuf,
}

impl ObservedUnits {
    /// Takes the tables. No unit is known yet.
    pub(super) fn take(ebpf: &mut Ebpf, cgroup_root: &Path, slices: &[String]) -> Option<Self> {
        let mut free: Queue<_, u32> = Queue::try_from(ebpf.take_map("FREE_UNITS")?).ok()?;
        for index in 0..MAX_UNITS {
            free.push(index, 0).ok()?;
        }
        Some(Self {
            names: HashMap::try_from(ebpf.take_map("UNIT_NAMES")?).ok()?,
            cgroups: HashMap::try_from(ebpf.take_map("CGROUPS")?).ok()?,
            places: Array::try_from(ebpf.take_map("CGROUP_ENTRIES")?).ok()?,
            slices: HashMap::try_from(ebpf.take_map("SLICES")?).ok()?,
            free,
            lost: Array::try_from(ebpf.take_map("CGROUPS_LOST")?).ok()?,
            observed: slices
                .iter()
                .map(|name| Slice::new(cgroup_root, name))
                .collect(),
            known: BTreeMap::new(),
        })
    }

    /// Notices slices that were made anew, and units that nobody has entered yet: those that were there before the tracepoints.
    pub(super) fn follow(&mut self) -> Result<(), MapError> {
        for slice in &mut self.observed {
            let now = slice.current_id();
            if now == slice.id {
                continue;
            }
            set_slice(&mut self.slices, slice.id, now)?;
            slice.id = now;
        }
        let present = self.present();
        // After the list was made: whatever the kernel has entered by itself and is in the list has a name now.
        self.learn_names();
        for unit in &present {
            let Some(index) = self.index_of(&unit.name) else {
                // None left: it stays with everything else until one is free again.
                if let Ok(index) = self.free.pop(0) {
                    self.enter(unit, index)?;
                }
                continue;
            };
            let entered = cgroup::id_of(&unit.path);
            if entered.is_ok_and(|id| self.cgroups.get(&id, 0).is_err()) {
                self.enter(unit, index)?;
            }
        }
        for known in self.known.values_mut() {
            let is_there = present.iter().any(|unit| unit.name == known.name);
            known.gone_since = match known.gone_since {
                _ if is_there => None,
                Some(since) => Some(since),
                None => Some(Instant::now()),
            };
        }
        Ok(())
    }

    /// Units whose indices are to be taken back, the one that is gone for longest first.
    pub(super) fn superfluous(&self) -> Vec<u32> {
        let free = (MAX_UNITS as usize).saturating_sub(self.known.len());
        let mut gone: Vec<(Instant, u32)> = self
            .known
            .iter()
            .filter_map(|(index, known)| Some((known.gone_since?, *index)))
            .filter(|(since, _)| since.elapsed() >= GONE)
            .collect();
        gone.sort_unstable();
        let indices = gone.into_iter().map(|(_, index)| index);
        indices.take(SPARE.saturating_sub(free)).collect()
    }

    /// Forgets a unit that is gone; false where it has just come back. Its index is not free before [`Self::give_back`].
    pub(super) fn forget(&mut self, index: u32) -> bool {
        let Some(known) = self.known.get(&index) else {
            return false;
        };
        let Some(key) = UnitName::new(&known.name) else {
            return false;
        };
        let _ = self.names.remove(&key);
        let has_cgroup = self
            .cgroups
            .iter()
            .filter_map(Result::ok)
            .any(|(_, of)| of == index);
        if has_cgroup {
            // Made since the last look, under the name that it still had.
            return self.names.insert(key, index, 0).is_err();
        }
        self.known.remove(&index);
        true
    }

    /// Lets another unit have an index, whose counters are empty again.
    pub(super) fn give_back(&mut self, index: u32) -> Result<(), MapError> {
        self.free.push(index, 0)
    }

    /// Units of the kernel's choosing.
    fn learn_names(&mut self) {
        for (name, index) in self.names.iter().filter_map(Result::ok) {
            self.known.entry(index).or_insert_with(|| Known {
                name: text(&name.bytes),
                gone_since: None,
            });
        }
    }

    fn present(&self) -> Vec<Present> {
        let mut present = Vec::new();
        for slice in &self.observed {
            let Ok(entries) = fs::read_dir(&slice.path) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && let Ok(name) = entry.file_name().into_string()
                    // A longer name is no unit of the lab's: it stays with everything else.
                    && UnitName::new(&name).is_some()
                {
                    let path = entry.path();
                    present.push(Present { name, path });
                }
            }
        }
        present.sort_by(|left, right| left.name.cmp(&right.name));
        present
    }

    fn enter(&mut self, unit: &Present, index: u32) -> Result<(), MapError> {
        let Some(key) = UnitName::new(&unit.name) else {
            return Ok(());
        };
        self.names.insert(key, index, 0)?;
        self.known.insert(
            index,
            Known {
                name: unit.name.clone(),
                gone_since: None,
            },
        );
        let mut refused = Ok(());
        let _ = cgroup::walk(&unit.path, &mut |id| {
            let entered = enter_cgroup(&mut self.places, &mut self.cgroups, id, index);
            if entered.is_err() {
                refused = entered;
            }
            Ok(())
        });
        refused
    }

    pub(super) fn index_of(&self, name: &str) -> Option<u32> {
        let mut known = self.known.iter();
        known.find_map(|(index, known)| (known.name == name).then_some(*index))
    }

    pub(super) fn index_of_cgroup(&self, cgroup: u64) -> Option<u32> {
        self.cgroups.get(&cgroup, 0).ok()
    }

    pub(super) fn name_of(&self, index: u32) -> Option<&str> {
        self.known.get(&index).map(|known| known.name.as_str())
    }

    /// Names by index.
    pub(super) fn known(&self) -> BTreeMap<u32, String> {
        let known = self.known.iter();
        known
            .map(|(index, known)| (*index, known.name.clone()))
            .collect()
    }

    /// Cgroups that could not be entered because a table was full.
    pub(super) fn lost(&self) -> u64 {
        self.lost.get(&0, 0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let name = UnitName::new("observastack-api@1.service").unwrap();
        assert_eq!(text(&name.bytes), "observastack-api@1.service");
    }
}

//! The kernel's tables of units, and the indices that user space hands out.

use std::{io, path::Path};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use observastack_abi::unit::{MAX_UNITS, NO_UNIT, UnitName, place_entry, place_of};

use crate::cgroup;

/// Units that rules name, with the maps through which the programs know them.
pub(crate) struct UnitTable {
    names: HashMap<MapData, UnitName, u32>,
    cgroups: HashMap<MapData, u64, u32>,
    /// What the programs ask before `cgroups`.
    places: Array<MapData, u64>,
    slices: HashMap<MapData, u64, u32>,
    lost: Array<MapData, u64>,
    known: Vec<Option<Known>>,
}

struct Known {
    name: String,
    rules: usize,
}

/// Why a unit could not be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("the unit name `{0}` has more than 63 bytes")]
    NameTooLong(String),
    #[error("{MAX_UNITS} units have faults already")]
    Full,
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("cannot read the unit's cgroups: {0}")]
    Cgroups(#[from] io::Error),
}

impl UnitTable {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        Some(Self {
            names: HashMap::try_from(ebpf.take_map("UNIT_NAMES")?).ok()?,
            cgroups: HashMap::try_from(ebpf.take_map("CGROUPS")?).ok()?,
            places: Array::try_from(ebpf.take_map("CGROUP_ENTRIES")?).ok()?,
            slices: HashMap::try_from(ebpf.take_map("SLICES")?).ok()?,
            lost: Array::try_from(ebpf.take_map("CGROUPS_LOST")?).ok()?,
            known: (0..MAX_UNITS).map(|_| None).collect(),
        })
    }

    /// Tells the programs a slice's cgroup id, and forgets the one that it had before.
    pub(crate) fn set_slice(&mut self, old: Option<u64>, new: Option<u64>) -> Result<(), MapError> {
        set_slice(&mut self.slices, old, new)
    }

    /// Gives a unit an index, or the one that it has, for one more rule.
    ///
    /// The name goes into the kernel first and the cgroups that exist after it, parents before children: whatever
    /// systemd makes meanwhile, either the tracepoint or the walk sees it.
    pub(crate) fn enter(
        &mut self,
        name: &str,
        paths: &[impl AsRef<Path>],
    ) -> Result<u32, UnitError> {
        let key = UnitName::new(name).ok_or_else(|| UnitError::NameTooLong(name.to_owned()))?;
        let unit = match self.index_of(name) {
            Some(unit) => unit,
            None => {
                let free = self.known.iter().position(Option::is_none);
                let unit = free.ok_or(UnitError::Full)?;
                // A tracepoint that had read the last holder's name may have been later than its removal.
                self.forget_cgroups(unit as u32);
                unit
            }
        };
        let index = unit as u32;
        self.names.insert(key, index, 0)?;
        let rules = self.known[unit].as_ref().map_or(0, |known| known.rules);
        self.known[unit] = Some(Known {
            name: name.to_owned(),
            rules: rules + 1,
        });
        if let Err(error) = self.scan(index, paths) {
            self.leave(index);
            return Err(error);
        }
        Ok(index)
    }

    /// Enters the cgroups that a unit has now.
    pub(crate) fn scan(&mut self, unit: u32, paths: &[impl AsRef<Path>]) -> Result<(), UnitError> {
        for path in paths {
            let mut full = None;
            cgroup::walk(path.as_ref(), &mut |id| {
                let entered = enter_cgroup(&mut self.places, &mut self.cgroups, id, unit);
                if let Err(error) = entered {
                    full = Some(error);
                }
                Ok(())
            })?;
            if let Some(error) = full {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// One rule less for a unit; the last one takes the unit out of the kernel's tables.
    pub(crate) fn leave(&mut self, unit: u32) {
        let Some(known) = &mut self.known[unit as usize] else {
            return;
        };
        known.rules -= 1;
        if known.rules > 0 {
            return;
        }
        if let Some(key) = UnitName::new(&known.name) {
            let _ = self.names.remove(&key);
        }
        self.known[unit as usize] = None;
        self.forget_cgroups(unit);
    }

    /// Takes every cgroup of a unit out of the kernel's table.
    fn forget_cgroups(&mut self, unit: u32) {
        let stale: Vec<u64> = self
            .cgroups
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, index)| *index == unit)
            .map(|(id, _)| id)
            .collect();
        for id in stale {
            // It may have been another cgroup's: that one has to ask the table then, which is slower and no less right. Setting it
            // can't fail: the array is as long as there are places.
            let _ = self.places.set(place_of(id), place_entry(id, NO_UNIT), 0);
            // `cgroup_rmdir` may have been quicker.
            let _ = self.cgroups.remove(&id);
        }
    }

    /// Units with rules: index and name.
    pub(crate) fn entered(&self) -> Vec<(u32, String)> {
        let known = self.known.iter().enumerate();
        known
            .filter_map(|(index, known)| Some((index as u32, known.as_ref()?.name.clone())))
            .collect()
    }

    /// Cgroups that the programs could not remember because the table was full.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get(&0, 0).unwrap_or(0)
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.known
            .iter()
            .position(|known| known.as_ref().is_some_and(|known| known.name == name))
    }
}

/// Tells the programs a slice's cgroup id, instead of the one that it had before.
pub(crate) fn set_slice(
    slices: &mut HashMap<MapData, u64, u32>,
    old: Option<u64>,
    new: Option<u64>,
) -> Result<(), MapError> {
    if let Some(old) = old {
        // It may be gone already.
        let _ = slices.remove(&old);
    }
    match new {
        Some(new) => slices.insert(new, 1, 0),
        None => Ok(()),
    }
}

/// Tells the programs which unit a cgroup belongs to: first the place that they ask first.
pub(crate) fn enter_cgroup(
    places: &mut Array<MapData, u64>,
    cgroups: &mut HashMap<MapData, u64, u32>,
    id: u64,
    unit: u32,
) -> Result<(), MapError> {
    places.set(place_of(id), place_entry(id, unit), 0)?;
    cgroups.insert(id, unit, 0)
}

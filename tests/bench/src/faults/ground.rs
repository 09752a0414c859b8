//! Cgroups made for the benchmark, like systemd's of a slice and its units. They are removed with their guard.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use observastack_loader::Loader;

use super::rules::{HOUR, after_ns};

/// The unit whose events are measured.
pub(crate) const UNIT: &str = "measured.service";

/// A unit that has rules, and nothing to do.
pub(crate) const OTHER: &str = "other.service";

/// A slice with two units.
pub(crate) struct Ground {
    root: PathBuf,
    slice_name: String,
    /// Outermost first.
    made: Vec<PathBuf>,
    /// The measured unit's cgroup.
    pub(crate) unit: PathBuf,
}

impl Ground {
    pub(crate) fn make(root: &Path) -> Result<Self> {
        let slice_name = format!("observastack-bench{}.slice", std::process::id());
        let outer = root.join("observastack.slice");
        let slice = outer.join(&slice_name);
        let unit = slice.join(UNIT);
        let mut ground = Self {
            root: root.to_owned(),
            slice_name,
            made: Vec::new(),
            unit: unit.clone(),
        };
        for path in [outer, slice.clone(), unit, slice.join(OTHER)] {
            if !path.exists() {
                fs::create_dir(&path)
                    .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
                ground.made.push(path);
            }
        }
        Ok(ground)
    }

    /// The programs of an object, for this slice, with a lease that holds for an hour.
    pub(super) fn load(&self, object: &Path) -> Result<Loader> {
        let slices = [self.slice_name.clone()];
        let mut loader = Loader::load(object, &self.root, &slices)?;
        loader.set_lease(after_ns(HOUR))?;
        Ok(loader)
    }

    /// The slice's name, as the loader takes it.
    pub(crate) fn slice_name(&self) -> &str {
        &self.slice_name
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The outermost may have got other slices meanwhile.
            let is_ours = path.parent() != Some(&self.root);
            if let Err(error) = remove(path)
                && is_ours
            {
                eprintln!("error: {error:#}");
            }
        }
    }
}

/// Waits a moment for processes that are just ending.
fn remove(path: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while let Err(error) = fs::remove_dir(path) {
        if Instant::now() > deadline {
            bail!("cannot remove the cgroup {}: {error}", path.display());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

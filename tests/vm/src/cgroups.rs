//! Making and removing cgroups.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait;

/// Makes a cgroup, which must not be there, in one that is.
pub(crate) fn make(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("cannot make the cgroup {}", path.display()))
}

/// Gives what is below a slice the controllers that the slice has, as systemd does; none on a hierarchy without controllers.
pub(crate) fn pass_controllers_on(slice: &Path) -> Result<()> {
    let context = || format!("cannot pass on the controllers of {}", slice.display());
    let controllers = fs::read_to_string(slice.join("cgroup.controllers")).with_context(context)?;
    let wanted: Vec<String> = controllers
        .split_whitespace()
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    fs::write(slice.join("cgroup.subtree_control"), wanted.join(" ")).with_context(context)
}

/// Removes a cgroup and those below it. Waits for processes that are just ending.
pub(crate) fn remove(path: &Path, deadline: Duration) -> Result<()> {
    for child in children(path)? {
        remove(&child, deadline)?;
    }
    wait::until(
        deadline,
        &format!("the cgroup {} is empty and removed", path.display()),
        || match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
            Err(error) => {
                Err(error).with_context(|| format!("cannot remove the cgroup {}", path.display()))
            }
        },
    )
}

/// The cgroups right below one; none where it is gone.
fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", path.display()));
        }
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            children.push(entry.path());
        }
    }
    Ok(children)
}

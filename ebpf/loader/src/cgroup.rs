//! Cgroups as directories: where the unified hierarchy is, and which ids lie below one.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A target slice's cgroup: eBPF programs are attached to it.
///
/// systemd removes a slice's cgroup when the slice stops and makes another when it starts, so the id may change.
#[derive(Debug)]
pub(crate) struct Slice {
    /// The slice's directory.
    pub(crate) path: PathBuf,
    /// Its cgroup id while it exists.
    pub(crate) id: Option<u64>,
}

impl Slice {
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        Self {
            path: root.join(path_of_slice(name)),
            id: None,
        }
    }

    /// The id of the slice's cgroup now, `None` where there is none.
    pub(crate) fn current_id(&self) -> Option<u64> {
        id_of(&self.path).ok()
    }
}

/// Where a unit's cgroup would be, in each of some slices.
pub fn unit_paths(root: &Path, slices: &[String], unit: &str) -> Vec<PathBuf> {
    let slices = slices.iter();
    slices
        .map(|slice| root.join(path_of_slice(slice)).join(unit))
        .collect()
}

/// A cgroup's id: the inode number of its directory (kernfs uses the same number on 64-bit machines).
pub(crate) fn id_of(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

/// Where systemd puts a slice below the hierarchy's root: `a-b.slice` lies in `a.slice/a-b.slice` (systemd.slice(5)).
pub(crate) fn path_of_slice(name: &str) -> PathBuf {
    let stem = name.strip_suffix(".slice").unwrap_or(name);
    let mut path = PathBuf::new();
    for (index, _) in stem.match_indices('-') {
        path.push(format!("{}.slice", &stem[..index]));
    }
    path.push(format!("{stem}.slice"));
    path
}

/// Calls `visit` with the id of `path` and of every cgroup below it, each one before its children are listed.
///
/// A cgroup that disappears meanwhile is left out.
pub(crate) fn walk(path: &Path, visit: &mut dyn FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    let id = match id_of(path) {
        Ok(id) => id,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    visit(id)?;
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_in_its_parents() {
        assert_eq!(
            path_of_slice("observastack-sut.slice"),
            Path::new("observastack.slice/observastack-sut.slice")
        );
        assert_eq!(path_of_slice("system.slice"), Path::new("system.slice"));
        assert_eq!(
            path_of_slice("a-b-c.slice"),
            Path::new("a.slice/a-b.slice/a-b-c.slice")
        );
    }

    #[test]
    fn a_walk_sees_a_directory_before_its_children() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("unit/child")).unwrap();
        fs::write(root.path().join("unit/cgroup.procs"), "").unwrap();
        let mut seen = Vec::new();
        walk(root.path(), &mut |id| {
            seen.push(id);
            Ok(())
        })
        .unwrap();
        let expected: Vec<u64> = ["", "unit", "unit/child"]
            .iter()
            .map(|path| id_of(&root.path().join(path)).unwrap())
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_walk_of_a_missing_cgroup_sees_nothing() {
        let root = tempfile::tempdir().unwrap();
        walk(&root.path().join("gone"), &mut |_| {
            panic!("nothing is there")
        })
        .unwrap();
    }
}

//! Which file an address of a process lies in, as `/proc/PID/maps` has it (proc_pid_maps(5)).

use std::{fs, path::PathBuf};

/// A range of addresses, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    from: u64,
    to: u64,
    name: String,
    /// The file's path, where there is one and it is still the one that was mapped.
    path: Option<PathBuf>,
}

/// All of a process's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maps(Vec<Mapping>);

impl Maps {
    /// Reads the file; what is no mapping is left out.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.lines().filter_map(mapping).collect())
    }

    /// Whether an address lies in a file that can be read now: a regular one, not removed meanwhile. A pipe of the same name would be waited for, and
    /// shared memory is no program.
    pub(crate) fn is_readable(&self, address: u64) -> bool {
        let path = self
            .mapping(address)
            .and_then(|mapping| mapping.path.as_ref());
        let file = path.and_then(|path| fs::metadata(path).ok());
        // The kernel's own page has no file, and is read from memory.
        let is_vdso = self.at(address) == Some("[vdso]");
        is_vdso || file.is_some_and(|file| file.is_file())
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        self.0
            .iter()
            .find(|mapping| (mapping.from..mapping.to).contains(&address))
    }

    /// What is at an address: the last part of a file's path, the kernel's own name for what is no file (`[vdso]`), nothing for memory without a
    /// name.
    pub(crate) fn at(&self, address: u64) -> Option<&str> {
        Some(&self.mapping(address)?.name)
    }
}

fn mapping(line: &str) -> Option<Mapping> {
    // Address range, permissions, offset, device, inode, and a path that may have spaces.
    let mut fields = line.splitn(6, ' ');
    let (from, to) = fields.next()?.split_once('-')?;
    let path = fields.nth(4).unwrap_or_default().trim();
    let (path, is_there) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, false),
        None => (path, true),
    };
    let name = if path.starts_with('/') {
        path.rsplit('/').next().unwrap_or_default()
    } else {
        path
    };
    Some(Mapping {
        from: u64::from_str_radix(from, 16).ok()?,
        to: u64::from_str_radix(to, 16).ok()?,
        name: name.to_owned(),
        path: (is_there && path.starts_with('/')).then(|| PathBuf::from(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_name_of_the_file_that_it_is_in() {
        let maps = Maps::of(
            "55d0-55e0 r-xp 00001000 fe:00 1234                       /usr/lib/a b/program (deleted)\n\
             7f00-7f10 rw-p 00000000 00:00 0 \n\
             7fff0000-7fff1000 r-xp 00000000 00:00 0                          [vdso]\n\
             nonsense\n",
        );
        assert_eq!(maps.at(0x55d0), Some("program"));
        assert_eq!(maps.at(0x55df), Some("program"));
        assert_eq!(maps.at(0x55e0), None);
        assert_eq!(maps.at(0x7f08), Some(""));
        assert_eq!(maps.at(0x7fff_0fff), Some("[vdso]"));
        // Removed, without a file, nowhere.
        assert!(![0x55d0, 0x7f08, 1].iter().any(|at| maps.is_readable(*at)));
        assert!(maps.is_readable(0x7fff_0000));
    }

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("program");
        std::fs::write(&file, "").unwrap();
        let line = |path: &std::path::Path| {
            format!("1000-2000 r-xp 00000000 fe:00 1 {}\n", path.display())
        };
        assert!(Maps::of(&line(&file)).is_readable(0x1000));
        assert!(!Maps::of(&line(directory.path())).is_readable(0x1000));
        let gone = directory.path().join("gone");
        assert!(!Maps::of(&line(&gone)).is_readable(0x1000));
    }
}

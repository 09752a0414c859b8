//! Where the kernel's functions are.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

/// The kernel's own file; and where a container's manager offers the host's, as it hides the former.
const FILES: [&str; 2] = ["/proc/kallsyms", "/run/host/kallsyms"];
/// Lines without an address after which there will be none with one.
const LINES: usize = 16;

/// A file that can be used.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn find() -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for file in FILES.map(Path::new) {
        match usable(file) {
            Ok(()) => return Ok(file.to_owned()),
            Err(reason) => reasons.push(format!("{}: {reason}", file.display())),
        }
    }
    Err(reasons.join("; "))
}

/// Addresses are all 0 for whoever may not know them (`kernel.kptr_restrict`).
fn usable(file: &Path) -> Result<(), String> {
    let opened = File::open(file).map_err(|error| error.to_string())?;
    let mut is_empty = true;
    for line in BufReader::new(opened).lines().take(LINES) {
        let line = line.map_err(|error| error.to_string())?;
        is_empty = false;
        let address = line.split(' ').next().unwrap_or_default();
        if u64::from_str_radix(address, 16).is_ok_and(|address| address != 0) {
            return Ok(());
        }
    }
    Err(if is_empty {
        "empty"
    } else {
        "addresses are hidden: CAP_SYSLOG is missing, or kernel.kptr_restrict is 2"
    }
    .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_addresses_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kallsyms");
        for (text, told) in [("", "empty"), ("0000000000000000 T _text\n", "CAP_SYSLOG")] {
            std::fs::write(&file, text).unwrap();
            assert!(usable(&file).unwrap_err().contains(told), "{text}");
        }
        std::fs::write(&file, "0000000000000000 A a\nffffffff81000000 T _text\n").unwrap();
        assert_eq!(usable(&file), Ok(()));
        assert!(usable(&directory.path().join("none")).is_err());
    }
}

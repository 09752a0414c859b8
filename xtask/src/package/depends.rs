//! The package's dependencies, read from the programs themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

/// Libraries that a program may need, and the Debian package that has them; every other one is an error, so that none is forgotten. Empty:
/// part of the C library's package, whose version is computed.
const LIBRARIES: [(&str, &str); 6] = [
    ("libc.so.6", ""),
    ("libm.so.6", ""),
    ("ld-linux-x86-64.so.2", ""),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libsystemd.so.0", "libsystemd0"),
    ("libstdc++.so.6", "libstdc++6"),
];

/// `libc6 (>= 2.34), libgcc-s1, libsystemd0`: what all of these programs need together.
pub(super) fn of(programs: &[PathBuf]) -> Result<String> {
    let mut packages = BTreeSet::new();
    let mut libc = (2, 0);
    for program in programs {
        let context = || format!("cannot read the libraries of {}", program.display());
        let needs = read(program).with_context(context)?;
        libc = libc.max(needs.libc);
        for library in needs.libraries {
            match LIBRARIES.iter().find(|(name, _)| *name == library) {
                Some((_, "")) => {}
                Some((_, package)) => {
                    packages.insert((*package).to_owned());
                }
                None => bail!(
                    "{} needs {library}: add its Debian package to xtask/src/package/depends.rs",
                    program.display()
                ),
            }
        }
    }
    packages.insert(format!("libc6 (>= {}.{})", libc.0, libc.1));
    Ok(packages.into_iter().collect::<Vec<_>>().join(", "))
}

struct Needs {
    libraries: Vec<String>,
    /// The newest version of the C library that a symbol asks for.
    libc: (u32, u32),
}

fn read(program: &Path) -> Result<Needs> {
    let data = fs::read(program)?;
    let data = data.as_slice();
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let mut needs = Needs {
        libraries: Vec::new(),
        libc: (2, 0),
    };
    if let Some((entries, link)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        for entry in entries
            .iter()
            .filter(|entry| entry.tag32(endian) == Some(elf::DT_NEEDED))
        {
            needs
                .libraries
                .push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
    }
    if let Some((mut files, link)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut versions)) = files.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
                let Some((major, minor)) = name
                    .strip_prefix("GLIBC_")
                    .and_then(|version| version.split_once('.'))
                else {
                    continue;
                };
                // Some have a third number that adds nothing to what a distribution ships: GLIBC_2.2.5.
                let minor = minor.split('.').next().unwrap_or(minor);
                if let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) {
                    needs.libc = needs.libc.max((major, minor));
                }
            }
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_needs_the_c_library_it_was_linked_with() {
        let own = std::env::current_exe().expect("own path");
        let depends = of(&[own]).expect("readable");
        let version = depends
            .split("libc6 (>= 2.")
            .nth(1)
            .and_then(|rest| rest.split(')').next())
            .and_then(|minor| minor.parse::<u32>().ok());
        assert!(
            version.is_some_and(|minor| minor >= 17),
            "Rust's standard library needs 2.17 at least: {depends}"
        );
    }
}

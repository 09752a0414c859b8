//! Tools that we did not write, for the kernel tests' guests: they shape, measure and look, and the tests believe them more than ourselves.
//!
//! They come from the tools image, with its own C library, which need not be the one that the test program was built with. So they live in a
//! folder of their own, and a wrapper on the guest's search path starts each with the image's loader and libraries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian::Rootfs;
use crate::initramfs::Initramfs;

/// Debian packages that have them. Not among them: curl and fio, whose libraries would double the guest (busybox has wget and dd).
pub(crate) const PACKAGES: [&str; 6] = [
    "dmsetup",
    "e2fsprogs",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "strace",
];

/// The programs, by the names that the tests call. What is missing here and common (mount, losetup, dd, ps) is busybox's.
const PROGRAMS: [&str; 10] = [
    "dmsetup",
    "e2fsck",
    "ip",
    "iperf3",
    "mkfs.ext4",
    "nstat",
    "ping",
    "ss",
    "strace",
    "tc",
];

/// What they read: distributions of netem's delays.
const DATA: [&str; 3] = [
    "usr/lib/x86_64-linux-gnu/tc/normal.dist",
    "usr/lib/x86_64-linux-gnu/tc/pareto.dist",
    "usr/lib/x86_64-linux-gnu/tc/paretonormal.dist",
];

/// Where the guest has them; `init.sh` puts the first on the search path.
const WRAPPERS: &str = "/tools/bin";
const REAL: &str = "/tools/real";
const LIBRARIES: &str = "/tools/lib";

/// Adds all of them with their libraries.
pub(crate) fn pack(tools: &Rootfs, archive: &mut Initramfs) -> Result<()> {
    let mut inside = Vec::new();
    for program in PROGRAMS {
        let path = ["usr/bin", "usr/sbin"]
            .into_iter()
            .map(|folder| format!("{folder}/{program}"))
            .find(|path| tools.path.join(path).is_file())
            .with_context(|| format!("the tools image has no {program}"))?;
        archive.copy(&tools.path.join(&path), &format!("{REAL}/{program}"), true)?;
        inside.push(format!("/{path}"));
    }
    let mut loader = None;
    for library in libraries(tools, &inside)? {
        let name = library
            .file_name()
            .with_context(|| format!("{} has no name", library.display()))?
            .to_string_lossy()
            .into_owned();
        if name.starts_with("ld-linux") {
            loader = Some(name.clone());
        }
        // A link's target may be an absolute path, which means the image's and not this machine's.
        let file = tools.path.join(library.strip_prefix("/")?);
        archive.copy(&file, &format!("{LIBRARIES}/{name}"), true)?;
    }
    let loader = loader.context("the tools of the guests name no loader")?;
    for program in PROGRAMS {
        // mkfs.ext4 and others look at the name by which they were called.
        let script = format!(
            "#!/bin/sh\nexec {LIBRARIES}/{loader} --library-path {LIBRARIES} --argv0 {program} {REAL}/{program} \"$@\"\n"
        );
        archive.file(&format!("{WRAPPERS}/{program}"), script.as_bytes(), true);
    }
    for path in DATA {
        archive.copy(&tools.path.join(path), &format!("/{path}"), false)?;
    }
    Ok(())
}

/// The shared libraries that these programs of the image need together, the loader included.
fn libraries(tools: &Rootfs, programs: &[String]) -> Result<BTreeSet<PathBuf>> {
    let listed = tools
        .command(&[], "ldd")
        .args(programs)
        .limit_s(60)
        .output()?;
    Ok(parse(&listed))
}

/// The paths in ldd's words: `libm.so.6 => /lib/x.so (0x..)` or `/lib64/ld-linux-x86-64.so.2 (0x..)`. A line that ends with a colon is the name
/// of a program; the kernel's own vdso has no path.
fn parse(listed: &str) -> BTreeSet<PathBuf> {
    listed
        .lines()
        .filter(|line| !line.ends_with(':'))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(|path| Path::new(path).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_several_programs_are_listed_once_and_the_programs_are_not() {
        let listed = "/usr/bin/ss:\n\tlinux-vdso.so.1 (0x01)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x02)\n\t/lib64/ld-linux-x86-64.so.2 (0x03)\n\
                      /usr/sbin/tc:\n\tlibm.so.6 => /lib/x/libm.so.6 (0x04)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x05)\n";
        let paths: Vec<String> = parse(listed)
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "/lib/x/libc.so.6",
                "/lib/x/libm.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }
}

//! Numbers of the kernel by their names.

use std::{collections::HashMap, fs, path::Path};

/// A system call's name here; its number where it has none.
pub(crate) fn syscall(number: u32) -> String {
    syscalls::Sysno::new(number as usize).map_or_else(
        || format!("syscall_{number}"),
        |call| call.name().to_owned(),
    )
}

/// An errno's name; its number where it has none.
pub(crate) fn errno(number: u32) -> String {
    let errno = nix::errno::Errno::from_raw(number.cast_signed());
    if errno == nix::errno::Errno::UnknownErrno {
        format!("errno_{number}")
    } else {
        format!("{errno:?}")
    }
}

/// A signal's name; its number where it has none.
pub(crate) fn signal(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// Names of block devices by their numbers, each looked up once.
#[derive(Debug, Default)]
pub(crate) struct Devices(HashMap<u32, String>);

impl Devices {
    /// A device's name. Device-mapper devices have the one that they were given, others the kernel's.
    pub(crate) fn name(&mut self, number: u32) -> String {
        if let Some(known) = self.0.get(&number) {
            return known.clone();
        }
        // A name may be given to another device later, a number that is in use not: what is not there yet is asked for again.
        match look_up(number) {
            Some(name) => self.0.entry(number).or_insert(name).clone(),
            None => format!("{}:{}", number >> 20, number & 0xf_ffff),
        }
    }
}

fn look_up(number: u32) -> Option<String> {
    let link = format!("/sys/dev/block/{}:{}", number >> 20, number & 0xf_ffff);
    let given = fs::read_to_string(Path::new(&link).join("dm/name"));
    if let Ok(given) = given {
        return Some(given.trim().to_owned());
    }
    let target = fs::canonicalize(link).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_names() {
        assert_eq!(errno(2), "ENOENT");
        assert_eq!(errno(4000), "errno_4000");
        assert_eq!(signal(9), "SIGKILL");
        assert_eq!(signal(64), "signal 64");
        assert_eq!(syscall(60_000), "syscall_60000");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(syscall(110), "getppid");
    }

    #[test]
    fn a_device_that_is_not_there_is_told_by_its_number() {
        assert_eq!(Devices::default().name(250 << 20 | 77), "250:77");
    }
}

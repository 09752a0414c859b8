//! How much memory the machine has.

use std::fs;

use super::failed;
use crate::lab::LabError;

/// The kernel's own figures; its image and what the firmware keeps are not in `MemTotal`.
const MEMINFO: &str = "/proc/meminfo";
/// The limit of the cgroup that the whole lab is in; only a machine that is a container has this file.
const LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// MiB that the lab may use: what the kernel has, or less where the machine is a container with a limit.
pub(super) fn mib() -> Result<u64, LabError> {
    let meminfo = fs::read_to_string(MEMINFO).map_err(|error| failed(MEMINFO, error))?;
    let limit = fs::read_to_string(LIMIT).ok();
    of(&meminfo, limit.as_deref()).ok_or_else(|| failed(MEMINFO, "it has no MemTotal in kB"))
}

fn of(meminfo: &str, limit: Option<&str>) -> Option<u64> {
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // `max` is no number, and no limit.
    let limit: Option<u64> = limit.and_then(|bytes| bytes.trim().parse().ok());
    let limit_mib = limit.map_or(u64::MAX, |bytes| bytes >> 20);
    Some((kib >> 10).min(limit_mib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_has_or_the_containers_limit() {
        let meminfo = "MemTotal:        2006132 kB\nMemFree:          123456 kB\n";
        for (limit, mib) in [
            (None, 1959),
            (Some("max\n"), 1959),
            (Some("1073741824\n"), 1024),
            (Some("9223372036854771712\n"), 1959),
        ] {
            assert_eq!(of(meminfo, limit), Some(mib), "{limit:?}");
        }
        for text in ["", "MemTotal: many kB\n", "MemTotal: 12\n"] {
            assert_eq!(of(text, None), None, "{text}");
        }
        assert!(mib().unwrap() > 0);
    }
}

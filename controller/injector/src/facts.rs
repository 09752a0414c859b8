//! What lowering has to know about this machine: read once for each fault, so that the lowering itself is pure.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use observastack_loader::{has_tcx, interfaces};
use observastack_spec::{Fault, FieldError};

use crate::{
    host,
    volume::{self, Volume},
};

/// A path as the kernel's programs know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    /// The inode's number.
    pub(crate) number: u64,
    /// The file system's device as the kernel writes it inside: 12 bits of major and 20 bits of minor number.
    pub(crate) device: u32,
}

/// What lowering has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The unit's cgroups, one in each target slice, whether they are there or not.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Interfaces that are up.
    pub(crate) interfaces: Vec<String>,
    /// Whether programs at interfaces need a `clsact` qdisc.
    pub(crate) needs_clsact: bool,
    /// Addresses of this machine.
    pub(crate) addresses: Vec<IpAddr>,
    /// The scale of TCP windows that sockets of this machine offer (RFC 7323).
    pub(crate) window_scale: u32,
    /// What the fault's path is, where it has one.
    pub(crate) path: Option<Inode>,
    /// The data volume, where there is one.
    pub(crate) volume: Option<Volume>,
    /// This program.
    pub(crate) binary: PathBuf,
}

/// Why something could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("cannot {what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

impl Facts {
    /// Finds out what one fault needs.
    pub(crate) fn gather(fault: &Fault, cgroups: Vec<PathBuf>) -> Result<Self, FactError> {
        let io = |what| move |source| FactError::Io { what, source };
        let found = interfaces().map_err(io("list the network interfaces"))?;
        let path = match fault {
            Fault::SyscallError(fault) => fault.path.as_deref().map(inode_of).transpose()?,
            _ => None,
        };
        let needs_volume = matches!(
            fault,
            Fault::DiskDelay(_) | Fault::DiskError(_) | Fault::DiskFill(_)
        );
        Ok(Self {
            cgroups,
            interfaces: found.into_iter().map(|(name, _)| name).collect(),
            needs_clsact: !has_tcx(),
            addresses: addresses().map_err(io("list this machine's addresses"))?,
            window_scale: window_scale(),
            path,
            volume: needs_volume.then(volume::find).flatten(),
            binary: std::env::current_exe().map_err(io("find the injector's own program"))?,
        })
    }

    /// Whether packets from every address of a network come from this machine.
    pub(crate) fn is_local(&self, network: IpAddr, prefix: u8) -> bool {
        let whole = if network.is_ipv4() { 32 } else { 128 };
        let is_loopback = match network {
            IpAddr::V4(network) => network.is_loopback() && prefix >= 8,
            IpAddr::V6(network) => network.is_loopback() && prefix == whole,
        };
        is_loopback || (prefix == whole && self.addresses.contains(&network))
    }
}

/// The inode at a path, links followed. Directories that are their owner's alone are looked into by systemd, on request.
fn inode_of(path: &str) -> Result<Inode, FieldError> {
    let refused = |why: String| {
        let allowed = format!("a file or directory that exists on this machine ({why})");
        FieldError::new("path", path, allowed)
    };
    let (device, number) = match fs::metadata(Path::new(path)) {
        Ok(metadata) => (metadata.dev(), metadata.ino()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            host::device_and_inode(path).map_err(|error| refused(error.to_string()))?
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    Ok(Inode {
        number,
        device: kernel_device(device),
    })
}

/// A device number as `struct super_block` has it (`MKDEV` in include/linux/kdev_t.h).
fn kernel_device(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (major << 20) | (minor & 0xf_ffff)
}

fn addresses() -> io::Result<Vec<IpAddr>> {
    let found = nix::ifaddrs::getifaddrs()?;
    Ok(found
        .filter_map(|interface| {
            let address = interface.address?;
            address
                .as_sockaddr_in()
                .map(|address| IpAddr::V4(address.ip()))
                .or_else(|| {
                    address
                        .as_sockaddr_in6()
                        .map(|address| IpAddr::V6(address.ip()))
                })
        })
        .collect())
}

/// The window scale that `tcp_select_initial_window` (net/ipv4/tcp_output.c) chooses for a socket without SO_RCVBUF.
fn window_scale() -> u32 {
    let largest = |file: &str| -> u64 {
        let text = fs::read_to_string(Path::new("/proc/sys/net").join(file)).unwrap_or_default();
        text.split_whitespace()
            .last()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    };
    scale_of(largest("ipv4/tcp_rmem").max(largest("core/rmem_max")))
}

/// The scale for the largest receive buffer, in bytes.
fn scale_of(space: u64) -> u32 {
    space.max(1).ilog2().saturating_sub(15).min(14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_scale_is_the_kernels() {
        // Debian 12's and 13's defaults: 6 MiB and 32 MiB.
        assert_eq!(scale_of(6_291_456), 7);
        assert_eq!(scale_of(33_554_432), 10);
        assert_eq!(scale_of(65_535), 0);
        assert_eq!(scale_of(0), 0);
    }

    #[test]
    fn a_device_number_is_written_as_the_kernel_writes_it() {
        assert_eq!(kernel_device(rustix::fs::makedev(254, 1)), (254 << 20) | 1);
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = inode_of("/nonexistent/file").unwrap_err();
        assert_eq!(error.field, "path");
    }
}

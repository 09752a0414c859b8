//! `inject syscall-error`.

use clap::Args;
use observastack_spec::{
    Call, Errno, Fault, FileKind, FileSystem, SocketFamily, faults::SyscallError,
};

use super::common::{Events, Held, Wanted, one_of};

/// The unit's system calls of some kinds fail with an error of your choice.
///
/// They fail at the kernel's security hooks (BPF LSM), before anything is done. A filter narrows it to files below a path,
/// on a file system, of a kind, or to sockets of a family; "files" never means pipes or sockets unless --files says so.
///
/// Needs BPF LSM: `lsm=...,bpf` on the kernel's command line where `doctor` says it is missing (Ubuntu). There is no hook
/// for fsync(2) and close(2), and what goes through io_uring, mapped memory or an open file passes the hook only once.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject syscall-error --unit observastack-postgresql --calls write --errno ENOSPC --path /var/lib/observastack --for 30s"
)]
pub(crate) struct SyscallErrorArgs {
    #[command(flatten)]
    held: Held,
    /// Which calls, with commas between them.
    #[arg(long, value_name = "CALL", required = true, value_delimiter = ',', value_parser = one_of!(Call))]
    calls: Vec<Call>,
    /// The error's name: EIO, ENOSPC, EACCES, ...
    #[arg(long, value_name = "NAME")]
    errno: Errno,
    /// Only files at or below this absolute path.
    ///
    /// Only with open, read, write, mmap, exec, unlink, rename, mkdir and stat.
    #[arg(long)]
    path: Option<String>,
    /// Only files on this kind of file system: ext4, xfs, btrfs, tmpfs, overlayfs, nfs, proc, sysfs, f2fs.
    #[arg(long, value_name = "NAME")]
    filesystem: Option<FileSystem>,
    /// Only files of this kind; at read and write regular files if not given.
    ///
    /// Only with open, read, write, mmap and stat.
    #[arg(long, value_name = "KIND", value_parser = one_of!(FileKind))]
    files: Option<FileKind>,
    /// Only sockets of this family; inet (IPv4 and IPv6) if not given.
    ///
    /// Only with socket, connect, accept, listen, send and receive.
    #[arg(long, value_name = "FAMILY", value_parser = one_of!(SocketFamily))]
    sockets: Option<SocketFamily>,
    #[command(flatten)]
    events: Events,
}

impl From<SyscallErrorArgs> for Wanted {
    fn from(args: SyscallErrorArgs) -> Self {
        let fault = Fault::SyscallError(SyscallError {
            calls: args.calls,
            errno: args.errno,
            path: args.path,
            filesystem: args.filesystem,
            files: args.files,
            sockets: args.sockets,
        });
        args.events.apply(args.held.of(fault))
    }
}

//! `syscall-error`: a unit's system calls fail with a chosen errno, at the hooks of the Linux security modules.

use crate::rule::RuleHead;

/// System calls, as bits.
pub mod call {
    /// `open(2)` and its kin.
    pub const OPEN: u32 = 1;
    /// `read(2)` and its kin.
    pub const READ: u32 = 1 << 1;
    /// `write(2)` and its kin.
    pub const WRITE: u32 = 1 << 2;
    /// `mmap(2)`.
    pub const MMAP: u32 = 1 << 3;
    /// `socket(2)`.
    pub const SOCKET: u32 = 1 << 4;
    /// `connect(2)`.
    pub const CONNECT: u32 = 1 << 5;
    /// `accept(2)`.
    pub const ACCEPT: u32 = 1 << 6;
    /// `listen(2)`.
    pub const LISTEN: u32 = 1 << 7;
    /// `send(2)` and its kin.
    pub const SEND: u32 = 1 << 8;
    /// `recv(2)` and its kin.
    pub const RECEIVE: u32 = 1 << 9;
    /// `clone(2)`, `fork(2)`: processes and threads.
    pub const CLONE: u32 = 1 << 10;
    /// `execve(2)`.
    pub const EXEC: u32 = 1 << 11;
    /// `unlink(2)`.
    pub const UNLINK: u32 = 1 << 12;
    /// `rename(2)`.
    pub const RENAME: u32 = 1 << 13;
    /// `mkdir(2)`.
    pub const MKDIR: u32 = 1 << 14;
    /// `stat(2)` and its kin.
    pub const STAT: u32 = 1 << 15;
}

/// Kinds of files, as bits.
pub mod kind {
    /// Regular files.
    pub const REGULAR: u32 = 1;
    /// Directories.
    pub const DIRECTORY: u32 = 1 << 1;
    /// Pipes, named or not.
    pub const PIPE: u32 = 1 << 2;
    /// Sockets.
    pub const SOCKET: u32 = 1 << 3;
    /// Character devices.
    pub const CHARACTER: u32 = 1 << 4;
    /// Block devices.
    pub const BLOCK: u32 = 1 << 5;

    /// The bit of a file mode (`inode(7)`, `S_IFMT`); 0 for kinds that have none here.
    #[inline(always)]
    pub const fn of_mode(mode: u32) -> u32 {
        match mode & 0o170_000 {
            0o100_000 => REGULAR,
            0o040_000 => DIRECTORY,
            0o010_000 => PIPE,
            0o140_000 => SOCKET,
            0o020_000 => CHARACTER,
            0o060_000 => BLOCK,
            _ => 0,
        }
    }
}

/// Families of sockets, as bits.
pub mod family {
    /// IPv4 and IPv6.
    pub const INET: u32 = 1;
    /// Unix sockets.
    pub const UNIX: u32 = 1 << 1;
    /// Everything else.
    pub const OTHER: u32 = 1 << 2;

    /// The bit of an address family (`AF_UNIX` 1, `AF_INET` 2, `AF_INET6` 10).
    #[inline(always)]
    pub const fn of_number(number: u16) -> u32 {
        match number {
            1 => UNIX,
            2 | 10 => INET,
            _ => OTHER,
        }
    }
}

/// How many directories above a file are looked at for [`SyscallErrorRule::path_inode`].
pub const LONGEST_PATH: u32 = 32;

/// Where the kernel's own structures keep what the programs read, in bytes from each one's start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOffsets {
    /// `struct file::f_inode`.
    pub file_inode: u32,
    /// `struct file::f_path`.
    pub file_path: u32,
    /// `struct path::dentry`.
    pub path_dentry: u32,
    /// `struct dentry::d_parent`.
    pub dentry_parent: u32,
    /// `struct dentry::d_inode`.
    pub dentry_inode: u32,
    /// `struct inode::i_ino`.
    pub inode_ino: u32,
    /// `struct inode::i_sb`.
    pub inode_sb: u32,
    /// `struct inode::i_mode`.
    pub inode_mode: u32,
    /// `struct super_block::s_dev`.
    pub sb_dev: u32,
    /// `struct super_block::s_magic`.
    pub sb_magic: u32,
    /// `struct socket::sk`.
    pub socket_sk: u32,
    /// `struct sock_common::skc_family`, which every `struct sock` begins with.
    pub sock_family: u32,
    /// `struct linux_binprm::file`.
    pub binprm_file: u32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<FileOffsets>() == 56);

/// One rule of `syscall-error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyscallErrorRule {
    /// What every rule has.
    pub head: RuleHead,
    /// The inode that the path must be, or lie below.
    pub path_inode: u64,
    /// The file system's magic number (`statfs(2)`); 0 is any.
    pub magic: u64,
    /// The device of [`Self::path_inode`], as the kernel writes it (20 bits of minor number); 0 is any path.
    pub path_device: u32,
    /// What the call returns, negative, not below -[`crate::rule::MAX_ERRNO`].
    pub retval: i32,
    /// Which calls, [`call`]s as bits.
    pub calls: u32,
    /// Which kinds of files, [`kind`]s as bits, at all calls but read and write; 0 is any.
    pub kinds: u32,
    /// The same at read and write.
    pub data_kinds: u32,
    /// Which families of sockets, [`family`]s as bits; 0 is any.
    pub families: u32,
}

const _: () = assert!(size_of::<SyscallErrorRule>() == 112);

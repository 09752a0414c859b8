//! `syscall-error`: a unit's system calls fail with a chosen errno.
//!
//! A path is known by its inode, and a file lies below it when one of its directories is that inode: this also holds for
//! files that were open before, and in other mount namespaces.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel, macros::map, maps::Array};
use observastack_abi::{
    counts::RuleCounts,
    rule::{ActiveSlots, MAX_RULES, fault},
    syscall_error::{FileOffsets, LONGEST_PATH, SyscallErrorRule, call, family, kind},
};

use crate::{
    clock::exact_ns,
    rule::{any, decide, errno, event},
};

/// Where this kernel keeps what is read below; set by the loader.
#[unsafe(no_mangle)]
static FILE_OFFSETS: Global<FileOffsets> = Global::new(FileOffsets {
    file_inode: 0,
    file_path: 0,
    path_dentry: 0,
    dentry_parent: 0,
    dentry_inode: 0,
    inode_ino: 0,
    inode_sb: 0,
    inode_mode: 0,
    sb_dev: 0,
    sb_magic: 0,
    socket_sk: 0,
    sock_family: 0,
    binprm_file: 0,
    _reserved: 0,
});

#[map]
static SYSCALL_ERROR_RULES: Array<SyscallErrorRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static SYSCALL_ERROR_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// What a call is about. A tagged pair and no `enum`: the kernel refuses the type information that Rust's have.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    kind: u8,
    /// An address in the kernel, or the number of an address family.
    at: *const u8,
}

const FILE: u8 = 0;
const ENTRY: u8 = 1;
const PATH: u8 = 2;
const SOCKET: u8 = 3;
const FAMILY: u8 = 4;
const PROGRAM: u8 = 5;
const NOTHING: u8 = 6;

impl Object {
    /// A `struct file`; null for memory without one.
    #[inline(always)]
    pub(crate) fn file(at: *const u8) -> Self {
        Self { kind: FILE, at }
    }

    /// A `struct dentry`.
    #[inline(always)]
    pub(crate) fn entry(at: *const u8) -> Self {
        Self { kind: ENTRY, at }
    }

    /// A `struct path`.
    #[inline(always)]
    pub(crate) fn path(at: *const u8) -> Self {
        Self { kind: PATH, at }
    }

    /// A `struct socket`.
    #[inline(always)]
    pub(crate) fn socket(at: *const u8) -> Self {
        Self { kind: SOCKET, at }
    }

    /// A `struct linux_binprm`.
    #[inline(always)]
    pub(crate) fn program(at: *const u8) -> Self {
        Self { kind: PROGRAM, at }
    }

    /// The number of an address family.
    #[inline(always)]
    pub(crate) fn family(number: u16) -> Self {
        Self {
            kind: FAMILY,
            at: number as usize as *const u8,
        }
    }

    /// Nothing that could be filtered.
    #[inline(always)]
    pub(crate) fn nothing() -> Self {
        Self {
            kind: NOTHING,
            at: core::ptr::null(),
        }
    }
}

/// The negative errno that the call is to fail with, or 0.
#[inline(always)]
pub(crate) fn retval(unit: u32, active: &ActiveSlots, call: u32, object: Object) -> i32 {
    let mut retval = 0;
    any(
        unit,
        active.of[fault::SYSCALL_ERROR],
        &SYSCALL_ERROR_RULES,
        &SYSCALL_ERROR_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            let is_faulted = rule.calls & call != 0
                && is_meant(rule, call, object)
                && decide(
                    &rule.head,
                    counts,
                    exact_ns,
                    event::SYSCALL,
                    call.trailing_zeros() as u16,
                )
                .is_some();
            if is_faulted {
                retval = errno(rule.retval);
            }
            is_faulted
        },
    );
    retval
}

#[inline(always)]
fn is_meant(rule: &SyscallErrorRule, call: u32, object: Object) -> bool {
    let offsets = FILE_OFFSETS.load();
    let (inode, entry) = match object.kind {
        FILE => of_file(object.at, &offsets),
        PROGRAM => match read::<*const u8>(object.at, offsets.binprm_file) {
            Some(file) => of_file(file, &offsets),
            None => return false,
        },
        ENTRY => of_entry(object.at, &offsets),
        PATH => match read::<*const u8>(object.at, offsets.path_dentry) {
            Some(entry) => of_entry(entry, &offsets),
            None => return false,
        },
        SOCKET => {
            let Some(sock) = read::<*const u8>(object.at, offsets.socket_sk) else {
                return false;
            };
            let number = read::<u16>(sock, offsets.sock_family).unwrap_or(0);
            return has(rule.families, family::of_number(number));
        }
        FAMILY => return has(rule.families, family::of_number(object.at as usize as u16)),
        _ => return true,
    };
    let kinds = if call & (call::READ | call::WRITE) != 0 {
        rule.data_kinds
    } else {
        rule.kinds
    };
    if kinds != 0 {
        let mode = read::<u16>(inode, offsets.inode_mode).unwrap_or(0);
        if !has(kinds, kind::of_mode(u32::from(mode))) {
            return false;
        }
    }
    if rule.magic != 0 {
        let sb = read::<*const u8>(inode, offsets.inode_sb);
        if sb.and_then(|sb| read::<u64>(sb, offsets.sb_magic)) != Some(rule.magic) {
            return false;
        }
    }
    rule.path_device == 0 || is_below(entry, rule.path_inode, rule.path_device)
}

#[inline(always)]
fn has(wanted: u32, is: u32) -> bool {
    wanted == 0 || wanted & is != 0
}

/// The inode and the directory entry of an open file. Memory without a file has neither.
#[inline(always)]
fn of_file(file: *const u8, offsets: &FileOffsets) -> (*const u8, *const u8) {
    let null = core::ptr::null::<u8>();
    if file.is_null() {
        return (null, null);
    }
    (
        read(file, offsets.file_inode).unwrap_or(null),
        read(file, offsets.file_path + offsets.path_dentry).unwrap_or(null),
    )
}

/// An entry that is about to be made has no inode yet: its directory's stands for it.
#[inline(always)]
fn of_entry(entry: *const u8, offsets: &FileOffsets) -> (*const u8, *const u8) {
    let null = core::ptr::null::<u8>();
    let inode = read(entry, offsets.dentry_inode).unwrap_or(null);
    if !inode.is_null() {
        return (inode, entry);
    }
    let parent = read(entry, offsets.dentry_parent).unwrap_or(null);
    (read(parent, offsets.dentry_inode).unwrap_or(null), entry)
}

/// Whether an entry is, or lies below, an inode of a device.
///
/// Kept out of line: the verifier walks its loop once for each place that it is inlined into.
#[inline(never)]
fn is_below(entry: *const u8, inode: u64, device: u32) -> bool {
    let offsets = FILE_OFFSETS.load();
    let mut entry = entry;
    for _ in 0..LONGEST_PATH {
        let Some(at) = read::<*const u8>(entry, offsets.dentry_inode) else {
            return false;
        };
        if read::<u64>(at, offsets.inode_ino) == Some(inode)
            && let Some(sb) = read::<*const u8>(at, offsets.inode_sb)
            && read::<u32>(sb, offsets.sb_dev) == Some(device)
        {
            return true;
        }
        match read::<*const u8>(entry, offsets.dentry_parent) {
            // The root of a file system is its own parent.
            Some(parent) if parent != entry => entry = parent,
            _ => return false,
        }
    }
    false
}

/// Reads a member of a kernel structure.
#[inline(always)]
fn read<T>(base: *const u8, offset: u32) -> Option<T> {
    // SAFETY: `bpf_probe_read_kernel` handles faults; the loader took the offsets from this kernel's BTF.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }.ok()
}

//! Errors of system calls.

use observastack_abi::{
    rule::RuleHead,
    syscall_error::{SyscallErrorRule, call, family, kind},
};
use observastack_loader::Rule;
use observastack_spec::{Call, FileKind, SocketFamily, faults::SyscallError};

use super::Plan;
use crate::facts::Facts;

pub(super) fn syscall_error(head: RuleHead, fault: &SyscallError, facts: &Facts) -> Plan {
    let calls = fault.calls.iter().fold(0, |calls, call| calls | bit(*call));
    Plan::of(Rule::SyscallError(SyscallErrorRule {
        head,
        path_inode: facts.path.map_or(0, |path| path.number),
        path_device: facts.path.map_or(0, |path| path.device),
        magic: fault.filesystem.map_or(0, |filesystem| filesystem.magic()),
        retval: -fault.errno.number(),
        calls,
        kinds: kinds(fault.file_kind(Call::Open)),
        data_kinds: kinds(fault.file_kind(Call::Read)),
        families: families(fault.socket_family()),
    }))
}

fn bit(of: Call) -> u32 {
    match of {
        Call::Open => call::OPEN,
        Call::Read => call::READ,
        Call::Write => call::WRITE,
        Call::Mmap => call::MMAP,
        Call::Socket => call::SOCKET,
        Call::Connect => call::CONNECT,
        Call::Accept => call::ACCEPT,
        Call::Listen => call::LISTEN,
        Call::Send => call::SEND,
        Call::Receive => call::RECEIVE,
        Call::Clone => call::CLONE,
        Call::Exec => call::EXEC,
        Call::Unlink => call::UNLINK,
        Call::Rename => call::RENAME,
        Call::Mkdir => call::MKDIR,
        Call::Stat => call::STAT,
    }
}

fn kinds(of: FileKind) -> u32 {
    match of {
        FileKind::Regular => kind::REGULAR,
        FileKind::Directory => kind::DIRECTORY,
        FileKind::Pipe => kind::PIPE,
        FileKind::Socket => kind::SOCKET,
        FileKind::CharDevice => kind::CHARACTER,
        FileKind::BlockDevice => kind::BLOCK,
        FileKind::Any => 0,
    }
}

fn families(of: SocketFamily) -> u32 {
    match of {
        SocketFamily::Inet => family::INET,
        SocketFamily::Unix => family::UNIX,
        SocketFamily::Any => 0,
    }
}

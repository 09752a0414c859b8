//! The programs: what each is, and how it is loaded and attached.

use std::{fs::File, io};

use aya::{
    Btf, Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, Lsm, ProgramError,
        RawTracePoint, SchedClassifier, TcAttachType,
        cgroup_skb::CgroupSkbLink,
        cgroup_sock_addr::CgroupSockAddrLink,
        lsm::LsmLink,
        raw_trace_point::RawTracePointLink,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};
use observastack_abi::syscall_error::call;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Packets that arrive at a target slice's sockets.
    SliceIngress,
    /// Packets that a target slice's sockets send.
    SliceEgress,
    /// Packets that any socket sends.
    RootEgress,
    /// A call that names an address, in a target slice.
    SliceAddress,
    /// Packets that leave through any interface.
    InterfaceEgress,
    /// A hook of the Linux security modules, for every process.
    Security,
    /// A raw tracepoint, for every process.
    Tracepoint,
}

/// One program of the object.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Program {
    /// Its name, which is also its hook's where that has one.
    pub name: &'static str,
    /// Where it is attached.
    pub place: Place,
    /// The calls of [`observastack_abi::syscall_error::call`] that it decides on.
    pub(crate) calls: u32,
}

const fn program(name: &'static str, place: Place) -> Program {
    Program {
        name,
        place,
        calls: 0,
    }
}

pub(crate) const PACKET_IN: Program = program("packet_in", Place::SliceIngress);
pub(crate) const PACKET_OUT: Program = program("packet_out", Place::InterfaceEgress);
pub(crate) const PACKET_TIME_OUT: Program = program("packet_time_out", Place::SliceEgress);
pub(crate) const PACKET_TIME_IN: Program = program("packet_time_in", Place::RootEgress);
pub(crate) const CONNECT4: Program = program("connect4", Place::SliceAddress);
pub(crate) const CONNECT6: Program = program("connect6", Place::SliceAddress);
pub(crate) const BIND4: Program = program("bind4", Place::SliceAddress);
pub(crate) const BIND6: Program = program("bind6", Place::SliceAddress);
pub(crate) const SYS_ENTER: Program = program("sys_enter", Place::Tracepoint);

macro_rules! security {
    ($($name:literal: $calls:expr),* $(,)?) => {
        /// A program for each hook of the Linux security modules that a call passes.
        pub(crate) static SECURITY: [&Program; [$($name),*].len()] = [$(&Program {
            name: $name,
            place: Place::Security,
            calls: $calls,
        }),*];
    };
}

security! {
    "file_open": call::OPEN,
    "file_permission": call::READ | call::WRITE,
    "mmap_file": call::MMAP,
    "socket_create": call::SOCKET,
    "socket_connect": call::CONNECT,
    "socket_accept": call::ACCEPT,
    "socket_listen": call::LISTEN,
    "socket_sendmsg": call::SEND,
    "socket_recvmsg": call::RECEIVE,
    "task_alloc": call::CLONE,
    "bprm_check_security": call::EXEC,
    "inode_unlink": call::UNLINK,
    "inode_rename": call::RENAME,
    "inode_mkdir": call::MKDIR,
    "inode_getattr": call::STAT,
}

/// Every program that a fault needs.
pub(crate) fn all() -> impl Iterator<Item = &'static Program> {
    [
        &PACKET_IN,
        &PACKET_OUT,
        &PACKET_TIME_OUT,
        &PACKET_TIME_IN,
        &CONNECT4,
        &CONNECT6,
        &BIND4,
        &BIND6,
        &SYS_ENTER,
    ]
    .into_iter()
    .chain(SECURITY)
}

/// The place of our filters among others at an interface, where the kernel has no tcx (before 6.6).
pub const FILTER_PRIORITY: u16 = 49_181;

/// Whether programs at interfaces are links that die with their process (tcx, 6.6). Otherwise an interface needs a `clsact`
/// queueing discipline first.
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// An attached program; dropping it detaches it.
pub(crate) enum Link {
    Skb(#[expect(dead_code, reason = "held for its drop")] CgroupSkbLink),
    Address(#[expect(dead_code, reason = "held for its drop")] CgroupSockAddrLink),
    Interface(#[expect(dead_code, reason = "held for its drop")] SchedClassifierLink),
    Security(#[expect(dead_code, reason = "held for its drop")] LsmLink),
    Tracepoint(#[expect(dead_code, reason = "held for its drop")] RawTracePointLink),
}

/// What a program is attached to.
pub(crate) enum Target<'a> {
    /// A cgroup's directory.
    Cgroup(&'a File),
    /// An interface's name.
    Interface(&'a str),
    /// The whole machine.
    Everywhere,
}

impl Program {
    /// Has the kernel verify the program. `btf` is the kernel's own, which security programs need.
    pub(crate) fn load(&self, ebpf: &mut Ebpf, btf: Option<&Btf>) -> Result<(), ProgramError> {
        let program = ebpf.program_mut(self.name).ok_or(ProgramError::NotLoaded)?;
        match self.place {
            Place::SliceIngress | Place::SliceEgress | Place::RootEgress => {
                <&mut CgroupSkb>::try_from(program)?.load()
            }
            Place::SliceAddress => <&mut CgroupSockAddr>::try_from(program)?.load(),
            Place::InterfaceEgress => <&mut SchedClassifier>::try_from(program)?.load(),
            Place::Tracepoint => <&mut RawTracePoint>::try_from(program)?.load(),
            Place::Security => {
                let btf = btf.ok_or_else(|| {
                    ProgramError::IOError(io::Error::other("the kernel's BTF is unreadable"))
                })?;
                <&mut Lsm>::try_from(program)?.load(self.name, btf)
            }
        }
    }

    /// Attaches it to one target, beside whatever else is attached there: links always share a cgroup, whatever the mode
    /// says (the kernel refuses flags for them).
    pub(crate) fn attach(
        &self,
        ebpf: &mut Ebpf,
        target: &Target<'_>,
    ) -> Result<Link, ProgramError> {
        let program = ebpf.program_mut(self.name).ok_or(ProgramError::NotLoaded)?;
        match (self.place, target) {
            (
                Place::SliceIngress | Place::SliceEgress | Place::RootEgress,
                Target::Cgroup(cgroup),
            ) => {
                let way = if self.place == Place::SliceIngress {
                    CgroupSkbAttachType::Ingress
                } else {
                    CgroupSkbAttachType::Egress
                };
                let program = <&mut CgroupSkb>::try_from(program)?;
                let link = program.attach(cgroup, way, CgroupAttachMode::Single)?;
                Ok(Link::Skb(program.take_link(link)?))
            }
            (Place::SliceAddress, Target::Cgroup(cgroup)) => {
                let program = <&mut CgroupSockAddr>::try_from(program)?;
                let link = program.attach(cgroup, CgroupAttachMode::Single)?;
                Ok(Link::Address(program.take_link(link)?))
            }
            (Place::InterfaceEgress, Target::Interface(name)) => {
                let program = <&mut SchedClassifier>::try_from(program)?;
                let link = if has_tcx() {
                    program.attach(name, TcAttachType::Egress)?
                } else {
                    let options = TcAttachOptions::Netlink(NlOptions {
                        priority: FILTER_PRIORITY,
                        ..NlOptions::default()
                    });
                    program.attach_with_options(name, TcAttachType::Egress, options)?
                };
                Ok(Link::Interface(program.take_link(link)?))
            }
            (Place::Security, Target::Everywhere) => {
                let program = <&mut Lsm>::try_from(program)?;
                let link = program.attach()?;
                Ok(Link::Security(program.take_link(link)?))
            }
            (Place::Tracepoint, Target::Everywhere) => {
                let program = <&mut RawTracePoint>::try_from(program)?;
                let link = program.attach(self.name)?;
                Ok(Link::Tracepoint(program.take_link(link)?))
            }
            _ => Err(ProgramError::NotLoaded),
        }
    }
}

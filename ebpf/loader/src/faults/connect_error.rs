//! `connect-error`: `cgroup/connect4` and `cgroup/connect6` programs at each slice.

use std::fs::File;

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSockAddr, ProgramError, cgroup_sock_addr::CgroupSockAddrLink,
    },
};
use observastack_abi::connect_error::ConnectErrorRule;

use crate::rule_map::RuleMap;

const PROGRAMS: [&str; 2] = ["connect_error4", "connect_error6"];

/// The fault's rules and links.
pub(crate) struct ConnectError {
    pub(crate) rules: RuleMap<ConnectErrorRule>,
    /// Dropping a link detaches its program.
    pub(crate) links: Vec<CgroupSockAddrLink>,
}

impl ConnectError {
    /// Has the kernel verify the programs.
    pub(crate) fn load(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        for name in PROGRAMS {
            program(ebpf, name)?.load()?;
        }
        Ok(())
    }

    pub(crate) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let rules = RuleMap::take(ebpf, "CONNECT_ERROR_RULES", "CONNECT_ERROR_COUNTS")?;
        Some(Self {
            rules,
            links: Vec::new(),
        })
    }

    /// Attaches to one slice, beside whatever else is attached there: links always share a cgroup, whatever the mode
    /// says (the kernel refuses flags for them).
    pub(crate) fn attach(&mut self, ebpf: &mut Ebpf, slice: &File) -> Result<(), ProgramError> {
        for name in PROGRAMS {
            let program = program(ebpf, name)?;
            let link = program.attach(slice, CgroupAttachMode::Single)?;
            self.links.push(program.take_link(link)?);
        }
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut CgroupSockAddr, ProgramError> {
    ebpf.program_mut(name)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}

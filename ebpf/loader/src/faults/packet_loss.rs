//! `packet-loss`: one `cgroup_skb` program at the ingress of each slice.

use std::fs::File;

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, cgroup_skb::CgroupSkbLink,
    },
};
use observastack_abi::packet_loss::PacketLossRule;

use crate::rule_map::RuleMap;

const PROGRAM: &str = "packet_loss";

/// The fault's rules and links.
pub(crate) struct PacketLoss {
    pub(crate) rules: RuleMap<PacketLossRule>,
    /// Dropping a link detaches its program.
    pub(crate) links: Vec<CgroupSkbLink>,
}

impl PacketLoss {
    /// Has the kernel verify the program.
    pub(crate) fn load(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        program(ebpf)?.load()
    }

    pub(crate) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let rules = RuleMap::take(ebpf, "PACKET_LOSS_RULES", "PACKET_LOSS_COUNTS")?;
        Some(Self {
            rules,
            links: Vec::new(),
        })
    }

    /// Attaches to one slice, beside whatever else is attached there: links always share a cgroup, whatever the mode
    /// says (the kernel refuses flags for them).
    pub(crate) fn attach(&mut self, ebpf: &mut Ebpf, slice: &File) -> Result<(), ProgramError> {
        let program = program(ebpf)?;
        let link = program.attach(
            slice,
            CgroupSkbAttachType::Ingress,
            CgroupAttachMode::Single,
        )?;
        self.links.push(program.take_link(link)?);
        Ok(())
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut CgroupSkb, ProgramError> {
    ebpf.program_mut(PROGRAM)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}

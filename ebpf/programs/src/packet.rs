//! What the headers of a packet say.
//!
//! IPv6 behind extension headers has no ports here, which the lab's services don't use.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_skb_cgroup_id, bpf_skb_load_bytes_relative},
};
use observastack_abi::packet::{Address, Packet, TCP, UDP};

use crate::units;

/// Offsets count from the IP header, wherever the packet's data begins at a hook (`BPF_HDR_START_NET`).
const FROM_IP_HEADER: u32 = 1;

const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;

/// The unit whose socket a packet belongs to: the sender's at egress, the receiver's at ingress.
#[inline(always)]
pub(crate) fn unit_of(skb: *mut __sk_buff) -> Option<u32> {
    // SAFETY: the context is the program's own; the helper reads the socket's cgroup.
    units::index_of(unsafe { bpf_skb_cgroup_id(skb) })
}

/// Reads the headers. `is_incoming` tells which end is the unit's.
#[inline(never)]
pub(crate) fn parse(skb: *mut __sk_buff, is_incoming: bool, packet: &mut Packet) {
    let Some(first) = load::<1>(skb, 0) else {
        return;
    };
    let (source, destination, transport) = match first[0] >> 4 {
        4 => {
            let Some(ip) = load::<20>(skb, 0) else {
                return;
            };
            packet.protocol = ip[9];
            packet.wire_len = u32::from(u16::from_be_bytes([ip[2], ip[3]]));
            let transport = u32::from(ip[0] & 0x0f) * 4;
            // A fragment but the first has no ports.
            let has_ports = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff == 0;
            (
                Address::v4(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]])),
                Address::v4(u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]])),
                if has_ports { transport } else { 0 },
            )
        }
        6 => {
            let Some(ip) = load::<40>(skb, 0) else {
                return;
            };
            packet.protocol = ip[6];
            packet.wire_len = IPV6_HEADER + u32::from(u16::from_be_bytes([ip[4], ip[5]]));
            (address_at::<8>(&ip), address_at::<24>(&ip), IPV6_HEADER)
        }
        _ => return,
    };
    packet.remote = if is_incoming { source } else { destination };
    if transport == 0 {
        return;
    }
    let mut headers = transport;
    if packet.protocol == TCP {
        if let Some(tcp) = load::<14>(skb, transport) {
            ports(packet, [tcp[0], tcp[1], tcp[2], tcp[3]]);
            // SYN set, ACK not.
            packet.is_syn = tcp[13] & 0x12 == 0x02;
            headers += u32::from(tcp[12] >> 4) * 4;
        }
    } else if packet.protocol == UDP
        && let Some(udp) = load::<4>(skb, transport)
    {
        ports(packet, udp);
        headers += UDP_HEADER;
    }
    // SAFETY: the context is the program's own.
    let segment = unsafe { (*skb).gso_size };
    if segment != 0 {
        // Not cut into segments yet; each becomes a packet with these headers.
        packet.wire_len = headers + segment;
    }
}

#[inline(always)]
fn ports(packet: &mut Packet, bytes: [u8; 4]) {
    packet.source_port = u16::from_be_bytes([bytes[0], bytes[1]]);
    packet.destination_port = u16::from_be_bytes([bytes[2], bytes[3]]);
}

#[inline(always)]
fn address_at<const AT: usize>(ip: &[u8; 40]) -> Address {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&ip[AT..AT + 16]);
    Address::v6(bytes)
}

/// Reads bytes at an offset from the IP header; `None` where the packet ends before.
#[inline(always)]
pub(crate) fn load<const LEN: usize>(skb: *mut __sk_buff, offset: u32) -> Option<[u8; LEN]> {
    let mut bytes = [0u8; LEN];
    // SAFETY: the helper writes at most LEN bytes into `bytes`.
    let failed = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            offset,
            bytes.as_mut_ptr().cast(),
            LEN as u32,
            FROM_IP_HEADER,
        )
    };
    (failed == 0).then_some(bytes)
}

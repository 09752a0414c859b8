//! What the headers of a packet say, read in one go: each read is a call. An IPv4 header with options, and a datagram of fewer than
//! 8 bytes, take one more.
//!
//! IPv6 behind extension headers has no ports here, which the lab's services don't use.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_tuple},
    helpers::generated::{bpf_skb_cgroup_id, bpf_skb_load_bytes_relative},
};
use observastack_abi::packet::{Address, Packet, TCP, UDP};

use crate::units;

/// Offsets count from the IP header, wherever the packet's data begins at a hook (`BPF_HDR_START_NET`).
const FROM_IP_HEADER: u32 = 1;

/// `ETH_P_IP` and `ETH_P_IPV6` (`include/uapi/linux/if_ether.h`), as `skb->protocol` has them.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;

const UDP_HEADER: u32 = 8;

/// An IPv4 header without options (RFC 791, 3.1), every number as it stands there.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv4 {
    version_and_length: u8,
    service: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    time_to_live: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

impl Ipv4 {
    const WITHOUT_OPTIONS: u8 = 0x45;
    const LENGTH: u32 = size_of::<Self>() as u32;

    /// Bytes of the header, its options included.
    #[inline(always)]
    fn length(&self) -> u32 {
        u32::from(self.version_and_length & 0x0f) * 4
    }

    /// Whether what follows begins with a TCP or UDP header.
    #[inline(always)]
    fn is_first_fragment(&self) -> bool {
        u16::from_be(self.fragment) & 0x1fff == 0
    }
}

/// An IPv6 header (RFC 8200, 3).
#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv6 {
    flow: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

impl Ipv6 {
    const LENGTH: u32 = size_of::<Self>() as u32;
}

/// The ports, which TCP and UDP have at the same place.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ports {
    source: u16,
    destination: u16,
}

/// The beginning of a TCP header (RFC 9293, 3.1). UDP's is shorter, but what it carries stands behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Transport {
    ports: Ports,
    sequence: u32,
    acknowledgement: u32,
    length: u8,
    flags: u8,
    window: u16,
}

/// An IP header with what follows.
#[repr(C)]
#[derive(Clone, Copy)]
struct Both<IP, T> {
    ip: IP,
    transport: T,
}

/// Types that any bytes make a value of.
///
/// # Safety
/// Every pattern of bits is a value, and there is no padding.
unsafe trait Plain: Copy {}
// SAFETY: integers, each at a multiple of its own size, with nothing between them.
unsafe impl Plain for Ipv4 {}
// SAFETY: as above.
unsafe impl Plain for Ipv6 {}
// SAFETY: as above.
unsafe impl Plain for Ports {}
// SAFETY: as above.
unsafe impl Plain for Transport {}
// SAFETY: both parts are multiples of 4 long and need no more alignment than that.
unsafe impl<IP: Plain, T: Plain> Plain for Both<IP, T> {}

/// The unit whose socket a packet belongs to: the sender's at egress, the receiver's at ingress.
#[inline(always)]
pub(crate) fn unit_of(skb: *mut __sk_buff) -> Option<u32> {
    // SAFETY: the context is the program's own; the helper reads the socket's cgroup.
    units::index_of(unsafe { bpf_skb_cgroup_id(skb) })
}

/// Reads the headers. `is_incoming` tells which end is the unit's.
#[inline(always)]
pub(crate) fn parse(skb: *mut __sk_buff, is_incoming: bool, packet: &mut Packet) {
    // SAFETY: the context is the program's own.
    match unsafe { (*skb).protocol } {
        IPV4 => ipv4(skb, is_incoming, packet),
        IPV6 => ipv6(skb, is_incoming, packet),
        _ => {}
    }
}

#[inline(always)]
fn ipv4(skb: *mut __sk_buff, is_incoming: bool, packet: &mut Packet) {
    if let Some(both) = load::<Both<Ipv4, Transport>>(skb, 0)
        && both.ip.version_and_length == Ipv4::WITHOUT_OPTIONS
    {
        of_ipv4(&both.ip, is_incoming, packet);
        if both.ip.is_first_fragment() {
            of_transport(skb, Ipv4::LENGTH, &both.transport, packet);
        }
    } else if let Some(both) = load::<Both<Ipv4, Ports>>(skb, 0) {
        of_ipv4(&both.ip, is_incoming, packet);
        if !both.ip.is_first_fragment() {
            return;
        }
        if both.ip.version_and_length != Ipv4::WITHOUT_OPTIONS {
            behind(skb, both.ip.length(), packet);
        } else if packet.protocol == UDP {
            set_ports(packet, Ipv4::LENGTH, both.transport);
        }
    } else if let Some(ip) = load::<Ipv4>(skb, 0) {
        of_ipv4(&ip, is_incoming, packet);
    }
}

#[inline(always)]
fn of_ipv4(ip: &Ipv4, is_incoming: bool, packet: &mut Packet) {
    packet.protocol = ip.protocol;
    packet.wire_len = u32::from(u16::from_be(ip.total_length));
    let remote = if is_incoming {
        ip.source
    } else {
        ip.destination
    };
    packet.remote = Address::v4(u32::from_be(remote));
}

#[inline(always)]
fn ipv6(skb: *mut __sk_buff, is_incoming: bool, packet: &mut Packet) {
    if let Some(both) = load::<Both<Ipv6, Transport>>(skb, 0) {
        of_ipv6(&both.ip, is_incoming, packet);
        of_transport(skb, Ipv6::LENGTH, &both.transport, packet);
    } else if let Some(both) = load::<Both<Ipv6, Ports>>(skb, 0) {
        of_ipv6(&both.ip, is_incoming, packet);
        if packet.protocol == UDP {
            set_ports(packet, Ipv6::LENGTH, both.transport);
        }
    } else if let Some(ip) = load::<Ipv6>(skb, 0) {
        of_ipv6(&ip, is_incoming, packet);
    }
}

#[inline(always)]
fn of_ipv6(ip: &Ipv6, is_incoming: bool, packet: &mut Packet) {
    packet.protocol = ip.next_header;
    packet.wire_len = Ipv6::LENGTH + u32::from(u16::from_be(ip.payload_length));
    let remote = if is_incoming {
        &ip.source
    } else {
        &ip.destination
    };
    let pair = |at: usize| {
        u64::from(u32::from_be(remote[at])) << 32 | u64::from(u32::from_be(remote[at + 1]))
    };
    packet.remote = Address {
        high: pair(0),
        low: pair(2),
    };
}

/// Reads what stands behind an IPv4 header with options.
#[inline(always)]
fn behind(skb: *mut __sk_buff, at: u32, packet: &mut Packet) {
    if let Some(transport) = load::<Transport>(skb, at) {
        of_transport(skb, at, &transport, packet);
    } else if packet.protocol == UDP
        && let Some(ports) = load::<Ports>(skb, at)
    {
        set_ports(packet, at, ports);
    }
}

#[inline(always)]
fn of_transport(skb: *mut __sk_buff, at: u32, read: &Transport, packet: &mut Packet) {
    let mut headers = at;
    if packet.protocol == TCP {
        set_ports(packet, at, read.ports);
        packet.tcp_flags = read.flags;
        packet.tcp_window = u16::from_be(read.window);
        headers += u32::from(read.length >> 4) * 4;
    } else if packet.protocol == UDP {
        set_ports(packet, at, read.ports);
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
fn set_ports(packet: &mut Packet, at: u32, ports: Ports) {
    packet.transport = at;
    packet.source_port = u16::from_be(ports.source);
    packet.destination_port = u16::from_be(ports.destination);
}

/// Reads at an offset from the IP header; `None` where the packet ends before.
#[inline(always)]
fn load<T: Plain>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes that many bytes, or zeros where it fails.
    let failed = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            offset,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            FROM_IP_HEADER,
        )
    };
    // SAFETY: all of it was written, and any bytes make a value.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// Shows the packet's protocol, and its addresses and ports as a socket lookup wants them (`struct bpf_sock_tuple`, with its
/// length): they stand in the headers as they stand there.
#[inline(always)]
pub(crate) fn with_tuple<R>(
    skb: *mut __sk_buff,
    look_up: impl Fn(u8, *mut bpf_sock_tuple, u32) -> Option<R>,
) -> Option<R> {
    // SAFETY: the context is the program's own.
    match unsafe { (*skb).protocol } {
        IPV4 => {
            let mut both = load::<Both<Ipv4, Ports>>(skb, 0)?;
            if both.ip.version_and_length != Ipv4::WITHOUT_OPTIONS {
                both.transport = load(skb, both.ip.length())?;
            }
            let protocol = both.ip.protocol;
            if !both.ip.is_first_fragment() {
                return None;
            }
            let from = offset_of!(Both<Ipv4, Ports>, ip.source);
            look_up(
                protocol,
                tuple_at(&mut both, from),
                (size_of::<Both<Ipv4, Ports>>() - from) as u32,
            )
        }
        IPV6 => {
            let mut both = load::<Both<Ipv6, Ports>>(skb, 0)?;
            let protocol = both.ip.next_header;
            let from = offset_of!(Both<Ipv6, Ports>, ip.source);
            look_up(
                protocol,
                tuple_at(&mut both, from),
                (size_of::<Both<Ipv6, Ports>>() - from) as u32,
            )
        }
        _ => None,
    }
}

#[inline(always)]
fn tuple_at<T: Plain>(headers: &mut T, from: usize) -> *mut bpf_sock_tuple {
    core::ptr::from_mut(headers)
        .cast::<u8>()
        .wrapping_add(from)
        .cast()
}

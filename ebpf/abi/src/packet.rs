//! Which packets a rule is about.

/// The packet arrives at the unit's sockets.
pub const DIRECTION_IN: u8 = 1;
/// The packet leaves from the unit's sockets.
pub const DIRECTION_OUT: u8 = 2;

/// Only a TCP packet that opens a connection: SYN set, ACK not.
pub const FILTER_SYN_ONLY: u8 = 1;

/// TCP's number among the IP protocols.
pub const TCP: u8 = 6;
/// UDP's number among the IP protocols.
pub const UDP: u8 = 17;

/// An IPv6 address as two numbers; IPv4 addresses are written as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The first eight bytes, most significant first.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

impl Address {
    /// An IPv4 address in host order.
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self {
            high: 0,
            low: 0xffff_0000_0000 | address as u64,
        }
    }

    /// An IPv6 address in network order.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self {
            high: (both >> 64) as u64,
            low: both as u64,
        }
    }
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The address that is not the unit's.
    pub remote: Address,
    /// The IP protocol's number.
    pub protocol: u8,
    /// Ports in host order; 0 where the protocol has none, or the packet is a fragment but the first.
    pub source_port: u16,
    /// As above.
    pub destination_port: u16,
    /// Bytes of the largest packet that this becomes on a wire, from the IP header on.
    pub wire_len: u32,
    /// Where the TCP or UDP header begins, counted from the IP header; 0 where there is none.
    pub transport: u32,
    /// What the TCP header says: its flags (RFC 9293, 3.1).
    pub tcp_flags: u8,
    /// And its window, unscaled, in host order.
    pub tcp_window: u16,
}

/// TCP's flags (RFC 9293, 3.1).
pub mod tcp {
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends it at once.
    pub const RST: u8 = 0x04;
    /// Acknowledges what came before.
    pub const ACK: u8 = 0x10;
}

impl Packet {
    /// Whether it opens a TCP connection: SYN set, ACK not.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    }
}

/// A rule's condition on packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketFilter {
    /// The peer's network.
    pub peer: Address,
    /// The bits of it that count; none where any peer will do.
    pub peer_mask: Address,
    /// A TCP or UDP port that either end must have, in host order; 0 is any packet.
    pub port: u16,
    /// The IP protocol's number; 0 is any.
    pub protocol: u8,
    /// [`DIRECTION_IN`], [`DIRECTION_OUT`] or both.
    pub direction: u8,
    /// [`FILTER_SYN_ONLY`] or 0.
    pub flags: u8,
    /// Explicit padding.
    pub _reserved: [u8; 3],
}

const _: () = assert!(size_of::<PacketFilter>() == 40);

impl PacketFilter {
    /// Whether it asks for anything that only the packet's headers tell.
    #[inline(always)]
    pub const fn needs_headers(&self) -> bool {
        self.port != 0
            || self.protocol != 0
            || self.flags != 0
            || self.peer_mask.high | self.peer_mask.low != 0
    }

    /// Whether a packet in one direction is meant.
    #[inline(always)]
    pub const fn matches(&self, packet: &Packet) -> bool {
        (self.port == 0 || self.port == packet.source_port || self.port == packet.destination_port)
            && (self.protocol == 0 || self.protocol == packet.protocol)
            && (self.flags & FILTER_SYN_ONLY == 0 || packet.is_syn())
            && self.is_peer(&packet.remote)
    }

    /// Whether an address lies in the peer's network.
    #[inline(always)]
    pub const fn is_peer(&self, address: &Address) -> bool {
        (address.high ^ self.peer.high) & self.peer_mask.high == 0
            && (address.low ^ self.peer.low) & self.peer_mask.low == 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn mask(bits: u32) -> Address {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        Address {
            high: (mask >> 64) as u64,
            low: mask as u64,
        }
    }

    #[test]
    fn no_condition_matches_everything() {
        assert!(PacketFilter::default().matches(&Packet::default()));
        assert!(!PacketFilter::default().needs_headers());
    }

    #[test]
    fn each_condition_excludes_by_itself() {
        let packet = Packet {
            remote: Address::v4(0x0a00_0001),
            protocol: TCP,
            source_port: 5440,
            destination_port: 40_000,
            wire_len: 60,
            ..Packet::default()
        };
        let any = PacketFilter::default();
        for (filter, expected) in [
            (PacketFilter { port: 5440, ..any }, true),
            (
                PacketFilter {
                    port: 40_000,
                    ..any
                },
                true,
            ),
            (PacketFilter { port: 8101, ..any }, false),
            (
                PacketFilter {
                    protocol: TCP,
                    ..any
                },
                true,
            ),
            (
                PacketFilter {
                    protocol: UDP,
                    ..any
                },
                false,
            ),
            (
                PacketFilter {
                    flags: FILTER_SYN_ONLY,
                    ..any
                },
                false,
            ),
            (
                PacketFilter {
                    peer: Address::v4(0x0a00_0000),
                    peer_mask: mask(96 + 8),
                    ..any
                },
                true,
            ),
            (
                PacketFilter {
                    peer: Address::v4(0x0b00_0000),
                    peer_mask: mask(96 + 8),
                    ..any
                },
                false,
            ),
            (
                PacketFilter {
                    peer: Address::v6([0x20; 16]),
                    peer_mask: mask(16),
                    ..any
                },
                false,
            ),
        ] {
            assert_eq!(filter.matches(&packet), expected, "{filter:?}");
            assert!(filter.needs_headers());
        }
    }

    proptest! {
        #[test]
        fn a_peer_is_one_whose_leading_bits_agree(network: u128, address: u128, bits in 0u32..=128) {
            let same = bits == 0 || (network ^ address) >> (128 - bits) == 0;
            let filter = PacketFilter {
                peer: Address::v6(network.to_be_bytes()),
                peer_mask: mask(bits),
                ..PacketFilter::default()
            };
            prop_assert_eq!(filter.is_peer(&Address::v6(address.to_be_bytes())), same);
        }

        #[test]
        fn an_ipv4_address_is_its_mapped_ipv6_address(address: u32) {
            let mapped: Ipv6Addr = Ipv4Addr::from(address).to_ipv6_mapped();
            prop_assert_eq!(Address::v4(address), Address::v6(mapped.octets()));
        }
    }
}

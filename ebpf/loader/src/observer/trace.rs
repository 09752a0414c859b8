//! Events of traced units, as their ring buffer has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use observastack_abi::telemetry::trace::TRACED_LEN;
pub use observastack_abi::telemetry::trace::{Traced, flag, kind};

use super::event::next;

const INET: u16 = 2;
const INET6: u16 = 10;

/// Reads an event; `None` where the bytes are not one.
pub fn decode(bytes: &[u8]) -> Option<Traced> {
    let bytes: &[u8; TRACED_LEN] = bytes.try_into().ok()?;
    let mut rest: &[u8] = bytes;
    let traced = Traced {
        at_ns: u64::from_ne_bytes(next(&mut rest)?),
        duration_ns: u64::from_ne_bytes(next(&mut rest)?),
        value: i64::from_ne_bytes(next(&mut rest)?),
        arguments: [
            u64::from_ne_bytes(next(&mut rest)?),
            u64::from_ne_bytes(next(&mut rest)?),
            u64::from_ne_bytes(next(&mut rest)?),
        ],
        unit: u32::from_ne_bytes(next(&mut rest)?),
        kind: u32::from_ne_bytes(next(&mut rest)?),
        what: u32::from_ne_bytes(next(&mut rest)?),
        process: u32::from_ne_bytes(next(&mut rest)?),
        thread: u32::from_ne_bytes(next(&mut rest)?),
        family: u16::from_ne_bytes(next(&mut rest)?),
        local_port: u16::from_ne_bytes(next(&mut rest)?),
        remote_port: u16::from_ne_bytes(next(&mut rest)?),
        _reserved: [
            u16::from_ne_bytes(next(&mut rest)?),
            u16::from_ne_bytes(next(&mut rest)?),
            u16::from_ne_bytes(next(&mut rest)?),
        ],
        local_address: next(&mut rest)?,
        remote_address: next(&mut rest)?,
        comm: next(&mut rest)?,
    };
    (kind::SYSCALL..=kind::SCHED)
        .contains(&traced.kind)
        .then_some(traced)
}

/// The socket's own address and the peer's, where the event is a socket's.
pub fn addresses(traced: &Traced) -> Option<[IpAddr; 2]> {
    let address = |bytes: &[u8; 16]| match traced.family {
        INET => Some(IpAddr::V4(Ipv4Addr::new(
            bytes[0], bytes[1], bytes[2], bytes[3],
        ))),
        INET6 => {
            let address = Ipv6Addr::from(*bytes);
            Some(
                address
                    .to_ipv4_mapped()
                    .map_or(IpAddr::V6(address), IpAddr::V4),
            )
        }
        _ => None,
    };
    Some([
        address(&traced.local_address)?,
        address(&traced.remote_address)?,
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_an_event_of_ours_or_none(bytes in proptest::collection::vec(any::<u8>(), TRACED_LEN), kind in 0u32..9) {
            let mut bytes = bytes;
            bytes[52..56].copy_from_slice(&kind.to_ne_bytes());
            let decoded = decode(&bytes);
            prop_assert_eq!(decoded.is_some(), (kind::SYSCALL..=kind::SCHED).contains(&kind));
            if let Some(traced) = decoded {
                // Whatever the family is, it is an address or none.
                let _ = addresses(&traced);
            }
            prop_assert_eq!(decode(&bytes[..TRACED_LEN - 1]), None);
        }
    }

    #[test]
    fn every_byte_has_its_place() {
        let bytes: Vec<u8> = (0..TRACED_LEN as u8).collect();
        // The kind is one of ours.
        let mut bytes = bytes;
        bytes[52..56].copy_from_slice(&kind::SCHED.to_ne_bytes());
        let traced = decode(&bytes).unwrap();
        assert_eq!(traced.at_ns, u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(traced.unit, u32::from_ne_bytes([48, 49, 50, 51]));
        assert_eq!(traced.family, u16::from_ne_bytes([68, 69]));
        assert_eq!(traced.local_address[0], 80);
        assert_eq!(traced.comm[15], 127);
        bytes[52] = kind::SCHED as u8 + 1;
        assert_eq!(decode(&bytes), None);
        assert_eq!(decode(&bytes[1..]), None);
    }

    #[test]
    fn addresses_are_of_their_family() {
        let mut traced = Traced {
            family: INET,
            ..Traced::default()
        };
        traced.local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        traced.remote_address[..4].copy_from_slice(&[10, 1, 2, 3]);
        let [local, remote] = addresses(&traced).unwrap();
        assert_eq!(
            (local.to_string(), remote.to_string()),
            ("127.0.0.1".into(), "10.1.2.3".into())
        );
        traced.family = INET6;
        traced.local_address = Ipv6Addr::LOCALHOST.octets();
        traced.remote_address = "::ffff:10.1.2.3".parse::<Ipv6Addr>().unwrap().octets();
        let [local, remote] = addresses(&traced).unwrap();
        assert_eq!(
            (local.to_string(), remote.to_string()),
            ("::1".into(), "10.1.2.3".into())
        );
        traced.family = 1;
        assert_eq!(addresses(&traced), None);
    }
}

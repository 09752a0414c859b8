//! Rare things, as the ring buffer has them.

use observastack_abi::telemetry::event::{COMM_LEN, EVENT_LEN};
pub use observastack_abi::telemetry::event::{Event, kind};

/// Reads an event; `None` where the bytes are not one.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    let bytes: &[u8; EVENT_LEN] = bytes.try_into().ok()?;
    let mut rest: &[u8] = bytes;
    let event = Event {
        at_ns: u64::from_ne_bytes(next(&mut rest)?),
        kind: u32::from_ne_bytes(next(&mut rest)?),
        unit: u32::from_ne_bytes(next(&mut rest)?),
        pid: u32::from_ne_bytes(next(&mut rest)?),
        code: i32::from_ne_bytes(next(&mut rest)?),
        local_port: u16::from_ne_bytes(next(&mut rest)?),
        remote_port: u16::from_ne_bytes(next(&mut rest)?),
        _reserved: u32::from_ne_bytes(next(&mut rest)?),
        comm: next::<COMM_LEN>(&mut rest)?,
    };
    (kind::EXEC..=kind::RESET_RECEIVED)
        .contains(&event.kind)
        .then_some(event)
}

pub(super) fn next<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

/// Text up to its terminating zero, or to its end.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_an_event_of_ours_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..2 * EVENT_LEN), kind in 0u32..8) {
            if let Some(event) = decode(&bytes) {
                prop_assert_eq!(bytes_of(&event), bytes);
            } else if let Some(mut whole) = bytes.get(..EVENT_LEN).map(<[u8]>::to_vec) {
                whole[8..12].copy_from_slice(&kind.to_ne_bytes());
                let is_ours = (kind::EXEC..=kind::RESET_RECEIVED).contains(&kind);
                prop_assert_eq!(decode(&whole).is_some(), is_ours);
                prop_assert!(decode(&whole).is_none_or(|event| text(&event.comm).chars().count() <= COMM_LEN));
            }
        }
    }

    fn bytes_of(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(event.at_ns.to_ne_bytes());
        for word in [event.kind, event.unit, event.pid] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(event.code.to_ne_bytes());
        bytes.extend(event.local_port.to_ne_bytes());
        bytes.extend(event.remote_port.to_ne_bytes());
        bytes.extend(event._reserved.to_ne_bytes());
        bytes.extend(event.comm);
        bytes
    }

    #[test]
    fn what_the_kernel_wrote_is_read() {
        let event = Event {
            at_ns: 1,
            kind: kind::EXIT,
            unit: 3,
            pid: 4,
            code: 256,
            local_port: 8000,
            remote_port: 40000,
            _reserved: 0,
            comm: *b"observastack-ap\0",
        };
        assert_eq!(decode(&bytes_of(&event)), Some(event));
        assert_eq!(text(&event.comm), "observastack-ap");
    }

    #[test]
    fn other_bytes_are_refused() {
        let event = Event {
            kind: kind::RESET_RECEIVED + 1,
            ..Event::default()
        };
        assert_eq!(decode(&bytes_of(&event)), None);
        for length in [0, 1, EVENT_LEN - 1, EVENT_LEN + 1] {
            assert_eq!(decode(&vec![1; length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_name_of_full_length_has_no_zero() {
        let event = Event {
            comm: [b'x'; COMM_LEN],
            ..Event::default()
        };
        assert_eq!(text(&event.comm), "x".repeat(COMM_LEN));
    }
}

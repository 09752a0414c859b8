//! `x-request-id`: the client's if it is sane, otherwise a new random UUID.

use http::HeaderMap;

/// Name of the header, on requests and on responses.
pub const HEADER: &str = "x-request-id";

const MAX_LENGTH: usize = 128;

/// The request's id: 1 to 128 letters, digits, `-`, `_`, `.` or `:` as sent by the client, or a new UUID (version 4).
pub fn accept_or_create(headers: &HeaderMap) -> String {
    match headers.get(HEADER).and_then(|value| value.to_str().ok()) {
        Some(id) if is_sane(id) => id.to_owned(),
        _ => create(rand::random()),
    }
}

/// It ends up in logs and in other services' headers, so nothing that needs quoting.
fn is_sane(id: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(sane)
}

fn create(random: u128) -> String {
    // RFC 9562: version 4 in bits 76 to 79, variant 0b10 in bits 62 and 63.
    let id = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{id:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with_id(value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(
            accept_or_create(&with_id(b"order-17_a.b:c")),
            "order-17_a.b:c"
        );
        for bad in [
            &b""[..],
            b"a b",
            b"a\tb",
            b"x\"y",
            b"\xff\xfe",
            b"a,b",
            &[b'a'; 129],
        ] {
            let id = accept_or_create(&with_id(bad));
            assert_eq!(id.len(), 36, "{bad:?} was kept");
        }
        assert_ne!(
            accept_or_create(&HeaderMap::new()),
            accept_or_create(&HeaderMap::new())
        );
    }

    proptest! {
        #[test]
        fn a_new_id_is_a_version_4_uuid(random: u128) {
            let id = create(random);
            prop_assert_eq!(id.len(), 36);
            prop_assert_eq!(&id[14..15], "4");
            prop_assert!("89ab".contains(&id[19..20]));
            prop_assert!(is_sane(&id));
        }
    }
}

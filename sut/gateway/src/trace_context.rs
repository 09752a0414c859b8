//! W3C trace context: <https://www.w3.org/TR/trace-context/>.
//!
//! The gateway is a span of the client's trace when that sent a valid `traceparent`, and the root of a new trace otherwise.

use std::fmt;

use http::HeaderMap;

/// Name of the header with trace id, parent id and flags.
pub const TRACEPARENT: &str = "traceparent";
/// Name of the header with vendors' own state; worthless without a valid `traceparent`.
pub const TRACESTATE: &str = "tracestate";

const SAMPLED: u8 = 0x01;

/// The gateway's span within a trace. Displays as a version 00 `traceparent`, which is what upstreams get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The same for all services that one request passes.
    pub trace_id: u128,
    /// The gateway's own span, the parent of the upstream's.
    pub span_id: u64,
    /// The client's span, if the trace was not started here.
    pub parent_id: Option<u64>,
    flags: u8,
}

impl TraceContext {
    /// Continues the client's trace, or starts a new, sampled one.
    pub fn continue_or_start(headers: &HeaderMap) -> Self {
        let span_id = rand::random_range(1..=u64::MAX);
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().ok().and_then(parse),
            // More than one is as invalid as none.
            _ => None,
        };
        match parent {
            Some((trace_id, parent_id, flags)) => Self {
                trace_id,
                span_id,
                parent_id: Some(parent_id),
                flags: flags & SAMPLED,
            },
            None => Self {
                trace_id: rand::random_range(1..=u128::MAX),
                span_id,
                parent_id: None,
                flags: SAMPLED,
            },
        }
    }

    /// The trace id as 32 hexadecimal digits.
    pub fn trace_id_hex(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The gateway's span id as 16 hexadecimal digits.
    pub fn span_id_hex(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// Trace id, parent id and flags of a valid `traceparent`.
fn parse(value: &str) -> Option<(u128, u64, u8)> {
    let mut parts = value.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let more = parts.next().is_some();
    // Version ff is forbidden; a later version may append fields, version 00 may not.
    let valid = version != 0xff && (version != 0 || !more) && trace_id != 0 && parent_id != 0;
    valid.then_some((trace_id, parent_id, flags))
}

/// Exactly `digits` lower case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(lower_hex))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    fn context(traceparent: &str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap());
        TraceContext::continue_or_start(&headers)
    }

    #[test]
    fn a_valid_parent_keeps_the_trace_and_gets_a_new_span() {
        let context = context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        assert_eq!(context.trace_id, TRACE);
        assert_eq!(context.parent_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_ne!(context.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(
            context.to_string().ends_with("-00"),
            "an unsampled trace stays unsampled"
        );
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_version_00_goes() {
        assert_eq!(
            context("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").trace_id,
            TRACE
        );
    }

    #[test]
    fn an_invalid_parent_starts_a_new_sampled_trace() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let context = context(bad);
            assert_ne!(context.trace_id, TRACE, "{bad}");
            assert_eq!(context.parent_id, None, "{bad}");
            assert!(context.to_string().ends_with("-01"), "{bad}");
        }
    }

    #[test]
    fn two_parents_are_as_invalid_as_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(
                TRACEPARENT,
                HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            );
        }
        assert_eq!(TraceContext::continue_or_start(&headers).parent_id, None);
    }

    proptest! {
        #[test]
        fn what_is_sent_upstream_is_itself_a_valid_parent(trace_id in 1u128.., parent_id in 1u64.., flags: u8) {
            let sent = context(&format!("00-{trace_id:032x}-{parent_id:016x}-{flags:02x}"));
            prop_assert_eq!(sent.trace_id, trace_id);
            prop_assert_eq!(parse(&sent.to_string()), Some((trace_id, sent.span_id, flags & 1)));
        }
    }
}

//! W3C trace context: <https://www.w3.org/TR/trace-context/>.
//!
//! Stricter than the SDK's own: it takes ids of any length and with a sign, and sends an empty `tracestate`.

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Name of the header with trace id, parent id and flags.
pub const TRACEPARENT: &str = "traceparent";
/// Name of the header with vendors' own state; worthless without a valid `traceparent`.
pub const TRACESTATE: &str = "tracestate";

/// The caller's span. What cannot be understood counts as absent, as the standard asks for.
pub(super) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    // More than one is as invalid as none.
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    let (trace_id, span_id, flags) = parse(parent.to_str().ok()?)?;
    Some(SpanContext::new(
        TraceId::from(trace_id),
        SpanId::from(span_id),
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        state(headers),
    ))
}

/// The vendors' state, from one header or several (3.3.1.1).
fn state(headers: &HeaderMap) -> TraceState {
    let values: Vec<&str> = headers
        .get_all(TRACESTATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values.join(",").parse().unwrap_or_default()
}

/// Names a span in the headers of the next request, and nothing where there is no trace.
pub(super) fn inject(context: &SpanContext, headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
    if !context.is_valid() {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(traceparent(context)) {
        headers.insert(TRACEPARENT, value);
    }
    let state = context.trace_state().header();
    if !state.is_empty()
        && let Ok(value) = HeaderValue::try_from(state)
    {
        headers.insert(TRACESTATE, value);
    }
}

pub(super) fn traceparent(context: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags() & TraceFlags::SAMPLED
    )
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
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_parent_is_understood_with_its_state() {
        let headers = headers(&[
            (TRACEPARENT, PARENT),
            (TRACESTATE, "one=1"),
            (TRACESTATE, "two=2"),
        ]);
        let context = extract(&headers).unwrap();
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(traceparent(&context), PARENT);
        assert_eq!(context.trace_state().header(), "one=1,two=2");
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_version_00_goes() {
        let later = format!("cc{}-more", &PARENT[2..]);
        let context = extract(&headers(&[(TRACEPARENT, &later)])).unwrap();
        assert_eq!(traceparent(&context), PARENT);
    }

    #[test]
    fn what_cannot_be_understood_counts_as_absent() {
        for bad in [
            "",
            "garbage",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let headers = headers(&[(TRACEPARENT, bad), (TRACESTATE, "vendor=1")]);
            assert_eq!(extract(&headers), None, "{bad}");
        }
        assert_eq!(extract(&headers(&[(TRACEPARENT, PARENT); 2])), None, "two");
    }

    #[test]
    fn a_bad_state_does_not_spoil_the_parent() {
        let headers = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "garbage")]);
        assert_eq!(extract(&headers).unwrap().trace_state().header(), "");
    }

    #[test]
    fn without_a_trace_no_header_is_sent_nor_passed_on() {
        let mut headers = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "vendor=1")]);
        inject(&SpanContext::NONE, &mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_sent_is_understood(trace_id in 1u128.., span_id in 1u64.., flags: u8, state in "([a-z]{1,8}=[a-z0-9]{1,8},){0,3}z=1") {
            let sent = SpanContext::new(
                TraceId::from(trace_id),
                SpanId::from(span_id),
                TraceFlags::new(flags) & TraceFlags::SAMPLED,
                true,
                state.parse().unwrap_or_default(),
            );
            let mut headers = HeaderMap::new();
            inject(&sent, &mut headers);
            prop_assert_eq!(extract(&headers), Some(sent));
        }

        #[test]
        fn any_bytes_are_an_answer(value: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(TRACEPARENT, value);
                let _ = extract(&headers);
            }
        }
    }
}

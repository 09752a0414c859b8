//! W3C trace context: who asked, and how the inventory is told.

use observastack_kit::http::Request;
use rand::Rng;

/// What a request belongs to; passed along with every call made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// The gateway's id of the request; empty without one.
    pub request_id: String,
    /// The trace.
    pub trace: TraceContext,
}

impl RequestContext {
    /// From the request's headers; begins a trace where none came in.
    pub fn of(request: &Request) -> Self {
        RequestContext {
            request_id: request.request_id().to_owned(),
            trace: TraceContext::from_headers(
                request.header("traceparent"),
                request.header("tracestate"),
            ),
        }
    }
}

/// One span of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    /// The vendors' part, passed on untouched.
    state: Option<String>,
}

impl TraceContext {
    /// From the headers' values. What cannot be understood counts as absent, as the standard asks for.
    pub fn from_headers(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        match traceparent.and_then(parse) {
            Some((trace_id, span_id, flags)) => TraceContext {
                trace_id,
                span_id,
                flags,
                state: tracestate.map(str::to_owned),
            },
            None => TraceContext {
                trace_id: random(),
                span_id: random(),
                flags: 0,
                state: None,
            },
        }
    }

    /// A new span in the same trace, for a call made on behalf of this one.
    pub fn child(&self) -> Self {
        TraceContext {
            span_id: random(),
            ..self.clone()
        }
    }

    /// The value of `traceparent` for the call.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }

    /// The value of `tracestate` for the call.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace's id as in the headers, for logs.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, all lower case, no id zero. A version above 00 may go on.
fn parse(traceparent: &str) -> Option<(u128, u64, u8)> {
    let mut parts = traceparent.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let ends = version != 0 || parts.next().is_none();
    (version != 0xff && trace_id != 0 && span_id != 0 && ends).then_some((trace_id, span_id, flags))
}

fn hex(digits: &str, length: usize) -> Option<u128> {
    let valid = digits.len() == length
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid {
        u128::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// Never zero, which the standard forbids for ids.
fn random<T: PartialEq + Default>() -> T
where
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    loop {
        let id = rand::rng().random::<T>();
        if id != T::default() {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_parents_begin_a_new_trace() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let refused = [
            "",
            "garbage",
            &format!("00-{id}-b7ad6b7169203331"),
            &format!("00-{id}-b7ad6b7169203331-1"),
            &format!("00-{id}-b7ad6b7169203331-01-more"),
            &format!("ff-{id}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
            &format!("00-{id}-0000000000000000-01"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ];
        for traceparent in refused {
            assert_eq!(parse(traceparent), None, "{traceparent}");
            let context = TraceContext::from_headers(Some(traceparent), Some("vendor=1"));
            assert!(parse(&context.traceparent()).is_some());
            assert_eq!(
                context.tracestate(),
                None,
                "a state without its parent means nothing"
            );
        }
        assert!(
            parse(&format!("01-{id}-b7ad6b7169203331-01-more")).is_some(),
            "later versions may go on"
        );
    }

    proptest! {
        #[test]
        fn a_child_keeps_trace_flags_and_state_and_has_a_span_of_its_own(
            trace_id in 1_u128.., span_id in 1_u64.., flags: u8,
        ) {
            let parent = format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
            let context = TraceContext::from_headers(Some(&parent), Some("vendor=1"));
            prop_assert_eq!(context.traceparent(), parent);
            let child = context.child();
            let (child_trace, child_span, child_flags) = parse(&child.traceparent()).unwrap();
            prop_assert_eq!((child_trace, child_flags, child.tracestate()), (trace_id, flags, Some("vendor=1")));
            prop_assert_ne!(child_span, span_id);
            prop_assert_eq!(child.trace_id(), format!("{trace_id:032x}"));
        }
    }
}

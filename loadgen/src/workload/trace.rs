//! Traces that a client begins.

use super::Chance;

/// A trace's id; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let (high, low) = (chance.number(), chance.number());
        Self((u128::from(high) << 64 | u128::from(low)).max(1))
    }

    /// The value of a `traceparent` header that asks for it to be recorded, for the n-th request of it
    /// (W3C Trace Context, level 1).
    #[must_use]
    pub fn traceparent(self, request: u64) -> String {
        let span = (self.0 as u64 ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
        format!("00-{:032x}-{span:016x}-01", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_its_form_and_requests_have_spans_of_their_own() {
        let trace = TraceId(0xabc);
        let header = trace.traceparent(1);
        assert_eq!(header.len(), 55);
        assert!(
            header.starts_with("00-00000000000000000000000000000abc-") && header.ends_with("-01")
        );
        assert_ne!(header, trace.traceparent(2));
    }
}

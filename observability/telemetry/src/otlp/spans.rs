//! Ended spans, on their way into the queue.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use super::queue::Queue;

/// Puts each span that was sampled in line.
#[derive(Debug)]
pub(super) struct Sender(pub(super) Queue<SpanData>);

impl SpanProcessor for Sender {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.put(span);
        }
    }

    /// The worker sends by itself; [`super::Pipeline::shut_down`] waits for it.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

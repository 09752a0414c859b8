//! Log records, on their way into the queue.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
};

use super::queue::Queue;

/// A record and who wrote it.
pub(super) type Written = (SdkLogRecord, InstrumentationScope);

/// Puts each record in line. What the sender itself writes does not come here: it suppresses telemetry while it sends.
#[derive(Debug)]
pub(super) struct Sender(pub(super) Queue<Written>);

impl LogProcessor for Sender {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.put((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

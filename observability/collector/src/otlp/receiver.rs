//! What happens with a decoded request: converted, queued, forwarded, counted. The same for HTTP and gRPC.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use crate::convert;
use crate::forward::Forward;
use crate::intake::{Full, Intake};
use crate::metrics::Metrics;
use crate::model::{Batch, ProfileRow, Signal};

/// What the sender is told about a request that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Items that are not valid.
    pub rejected: usize,
    /// Why the first of them is not.
    pub why: String,
}

/// Where requests end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    intake: Intake,
    forward: Forward,
    pub(crate) metrics: Metrics,
}

impl Receiver {
    /// A receiver that queues here and forwards there.
    #[must_use]
    pub fn new(intake: Intake, forward: Forward, metrics: Metrics) -> Self {
        Self {
            intake,
            forward,
            metrics,
        }
    }

    /// Takes spans; `raw` is the request in protobuf, for whom they are forwarded to.
    ///
    /// # Errors
    /// [`Full`] when the store does not keep up; nothing was taken then.
    pub fn traces(
        &self,
        request: &ExportTraceServiceRequest,
        raw: impl FnOnce() -> Bytes,
    ) -> Result<Outcome, Full> {
        let converted = convert::spans(request);
        let items = converted.rows.len();
        self.intake.offer(Batch::Spans(converted.rows))?;
        self.forward.offer(Signal::Traces, items, raw);
        Ok(self.outcome(Signal::Traces, converted.rejected, converted.why))
    }

    /// Takes log records.
    ///
    /// # Errors
    /// [`Full`] when the store does not keep up; nothing was taken then.
    pub fn logs(
        &self,
        request: &ExportLogsServiceRequest,
        raw: impl FnOnce() -> Bytes,
    ) -> Result<Outcome, Full> {
        let converted = convert::logs(request);
        let items = converted.rows.len();
        self.intake.offer(Batch::Logs(converted.rows))?;
        self.forward.offer(Signal::Logs, items, raw);
        Ok(self.outcome(Signal::Logs, converted.rejected, converted.why))
    }

    /// Counts data points; they are not stored.
    pub fn metrics(&self, request: &ExportMetricsServiceRequest) {
        let items = convert::data_points(request);
        self.metrics.accepted(Signal::Metrics, items);
        self.metrics.dropped(Signal::Metrics, "not_stored", items);
    }

    /// Takes profiles.
    ///
    /// # Errors
    /// [`Full`] when the store does not keep up; nothing was taken then.
    pub fn profiles(
        &self,
        rows: Vec<ProfileRow>,
        rejected: usize,
        raw: impl FnOnce() -> Bytes,
    ) -> Result<(), Full> {
        let items = rows.len();
        self.intake.offer(Batch::Profiles(rows))?;
        self.forward.offer(Signal::Profiles, items, raw);
        self.metrics.rejected(Signal::Profiles, "invalid", rejected);
        Ok(())
    }

    fn outcome(&self, signal: Signal, rejected: usize, why: String) -> Outcome {
        self.metrics.rejected(signal, "invalid", rejected);
        Outcome { rejected, why }
    }
}

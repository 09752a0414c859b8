//! OTLP/gRPC: the three export services.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::http::count;
use super::{Limits, Outcome, Receiver};
use crate::server::stopped;

/// Requests of one connection that are read at once.
const STREAMS: u32 = 16;

/// Serves until the stop, then until the requests in flight have their answers.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    limits: Limits,
    mut shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let traces = TraceServiceServer::new(Services(receiver.clone()))
        .accept_compressed(Gzip)
        .max_decoding_message_size(limits.body_bytes);
    let logs = LogsServiceServer::new(Services(receiver.clone()))
        .accept_compressed(Gzip)
        .max_decoding_message_size(limits.body_bytes);
    let metrics = MetricsServiceServer::new(Services(receiver))
        .accept_compressed(Gzip)
        .max_decoding_message_size(limits.body_bytes);
    Server::builder()
        .timeout(limits.body_time)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(20)))
        .add_service(traces)
        .add_service(logs)
        .add_service(metrics)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            stopped(&mut shutdown).await;
        })
        .await
}

#[derive(Clone, Debug)]
struct Services(Receiver);

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let taken = self
            .0
            .traces(&request, || request.encode_to_vec().into())
            .map_err(refusal)?;
        let Outcome { rejected, why } = taken;
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success: (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: count(rejected),
                error_message: why,
            }),
        }))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        let taken = self
            .0
            .logs(&request, || request.encode_to_vec().into())
            .map_err(refusal)?;
        let Outcome { rejected, why } = taken;
        Ok(Response::new(ExportLogsServiceResponse {
            partial_success: (rejected > 0).then(|| ExportLogsPartialSuccess {
                rejected_log_records: count(rejected),
                error_message: why,
            }),
        }))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.metrics(request.get_ref());
        Ok(Response::new(ExportMetricsServiceResponse {
            partial_success: None,
        }))
    }
}

fn refusal(full: crate::intake::Full) -> Status {
    super::Status::from(full).into_grpc()
}

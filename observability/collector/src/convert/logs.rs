//! Log records.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::attributes::{self, any_value, object};
use super::{Converted, id, time_ns};
use crate::model::{LogRow, Resource};

/// Every record of a request. None is rejected: one without a trace or a time is still a line to read.
#[must_use]
pub fn logs(request: &ExportLogsServiceRequest) -> Converted<LogRow> {
    let mut converted = Converted::new();
    for of_resource in &request.resource_logs {
        let resource = attributes::resource(of_resource.resource.as_ref());
        for of_scope in &of_resource.scope_logs {
            converted.rows.extend(
                of_scope
                    .log_records
                    .iter()
                    .map(|record| row(record, &resource)),
            );
        }
    }
    converted
}

fn row(record: &LogRecord, resource: &Arc<Resource>) -> LogRow {
    let happened = match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    };
    let body = match &record.body {
        Some(value) => match &value.value {
            Some(Any::StringValue(text)) => text.clone(),
            _ => any_value(value).to_string(),
        },
        None => String::new(),
    };
    LogRow {
        time_ns: time_ns(happened),
        severity: record.severity_number.clamp(0, 24),
        resource: Arc::clone(resource),
        trace_id: id(&record.trace_id),
        span_id: id(&record.span_id),
        body,
        attributes: object(&record.attributes),
    }
}

//! Spans.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::attributes::{self, hex, object};
use super::{Converted, id, time_ns};
use crate::model::{Resource, SpanRow};

/// OTLP's kinds of spans that call somebody.
const CLIENT: i32 = 3;

/// Every span of a request. One without a valid trace or span id is rejected: nothing could ever find it.
#[must_use]
pub fn spans(request: &ExportTraceServiceRequest) -> Converted<SpanRow> {
    let mut converted = Converted::new();
    for of_resource in &request.resource_spans {
        let resource = attributes::resource(of_resource.resource.as_ref());
        for of_scope in &of_resource.scope_spans {
            let scope: Arc<str> = of_scope
                .scope
                .as_ref()
                .map_or("", |scope| scope.name.as_str())
                .into();
            for span in &of_scope.spans {
                match row(span, &resource, &scope) {
                    Some(row) => converted.rows.push(row),
                    None => converted.reject(|| {
                        format!(
                            "span {:?}: trace_id must be 16 bytes and span_id 8, not all zero; they are \"{}\" and \"{}\"",
                            span.name,
                            hex(span.trace_id.get(..32).unwrap_or(&span.trace_id)),
                            hex(span.span_id.get(..32).unwrap_or(&span.span_id)),
                        )
                    }),
                }
            }
        }
    }
    converted
}

fn row(span: &Span, resource: &Arc<Resource>, scope: &Arc<str>) -> Option<SpanRow> {
    let (status, status_message) = span.status.as_ref().map_or((0, String::new()), |status| {
        (status.code, status.message.clone())
    });
    let start_ns = time_ns(span.start_time_unix_nano);
    Some(SpanRow {
        trace_id: id(&span.trace_id)?,
        span_id: id(&span.span_id)?,
        parent_span_id: id(&span.parent_span_id),
        resource: Arc::clone(resource),
        name: span.name.clone(),
        scope: Arc::clone(scope),
        kind: span.kind,
        start_ns,
        duration_ns: time_ns(span.end_time_unix_nano)
            .saturating_sub(start_ns)
            .max(0),
        status,
        status_message,
        attributes: object(&span.attributes),
        events: events(span),
        links: links(span),
        peer: peer(span),
    })
}

fn events(span: &Span) -> String {
    if span.events.is_empty() {
        return String::new();
    }
    let events: Value = span
        .events
        .iter()
        .map(|event| {
            json!({
                "time_ns": event.time_unix_nano,
                "name": event.name,
                "attributes": as_value(&event.attributes),
            })
        })
        .collect();
    events.to_string()
}

fn links(span: &Span) -> String {
    if span.links.is_empty() {
        return String::new();
    }
    let links: Value = span
        .links
        .iter()
        .map(|link| {
            json!({
                "trace_id": hex(&link.trace_id),
                "span_id": hex(&link.span_id),
                "attributes": as_value(&link.attributes),
            })
        })
        .collect();
    links.to_string()
}

fn as_value(list: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> Value {
    list.iter()
        .map(|attribute| {
            let value = attribute
                .value
                .as_ref()
                .map_or(Value::Null, attributes::any_value);
            (attribute.key.clone(), value)
        })
        .collect()
}

/// A database has no spans: its callers' spans name it, by the current convention or the one before.
fn peer(span: &Span) -> Option<String> {
    if span.kind != CLIENT {
        return None;
    }
    ["db.system.name", "db.system"]
        .into_iter()
        .find_map(|key| attributes::text(&span.attributes, key))
        .map(str::to_owned)
}

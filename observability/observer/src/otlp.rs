//! What was counted, as OTLP metrics on their way to a collector.
//!
//! Counters are cumulative and durations keep their buckets, so nothing is lost when one request is not taken: the next one says it all.

use std::time::Duration;

use hyper::Uri;
use observastack_abi::telemetry::histogram::end_ns;
use observastack_spec::kernel::Times;
use observastack_telemetry::{
    metrics::Registry,
    otlp::{Identity, Settings},
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prometheus_client::metrics::{counter::Counter, family::Family as Counters};
use prost::Message as _;
use tracing::{info, warn};

use crate::{
    clock,
    engine::Engine,
    families::{Family, Kind, Labels, Value, families},
    post::{post, sender},
};

/// How often everything is sent.
const EVERY: Duration = Duration::from_secs(10);

/// Requests by what became of them.
pub(crate) type Exports = Counters<[(&'static str, &'static str); 1], Counter>;

/// Registers the count of requests.
pub(crate) fn register(registry: &mut Registry) -> Exports {
    let exports = Exports::default();
    registry.register(
        "observastack_observer_metric_exports",
        "OTLP requests with metrics, by what became of them",
        exports.clone(),
    );
    exports
}

/// Sends until it is dropped.
pub(crate) async fn send(engine: Engine, settings: Settings, identity: Identity, exports: Exports) {
    let sender = sender();
    let Ok(target) = format!("{}/v1/metrics", settings.endpoint).parse::<Uri>() else {
        // The settings have been checked: a path can be added to them.
        return;
    };
    let started_ns = clock::ns(clock::now());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_taken = true;
    loop {
        ticks.tick().await;
        let Ok(told) = engine.told().await else {
            return;
        };
        let request = request(
            &families(&told),
            &identity,
            [started_ns, clock::ns(clock::now())],
        );
        let body = request.encode_to_vec();
        let outcome = post(
            &sender,
            &target,
            "application/x-protobuf",
            body,
            settings.timeout,
        )
        .await;
        let name = if outcome.is_ok() { "sent" } else { "failed" };
        exports.get_or_create(&[("outcome", name)]).inc();
        // Said once each time that it changes.
        match outcome {
            Err(reason) if is_taken => {
                warn!(%target, reason, "the collector does not take metrics");
                is_taken = false;
            }
            Ok(()) if !is_taken => {
                info!(%target, "the collector takes metrics again");
                is_taken = true;
            }
            _ => {}
        }
    }
}

/// Everything, from a beginning to now.
fn request(
    families: &[Family],
    identity: &Identity,
    between_ns: [u64; 2],
) -> ExportMetricsServiceRequest {
    let attributes = [
        ("service.namespace", "observastack"),
        ("service.name", identity.service),
        ("service.instance.id", &identity.instance),
        ("service.version", identity.version),
    ];
    let metrics = families
        .iter()
        .map(|family| metric(family, between_ns))
        .collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: attributes
                    .map(|(key, value)| attribute(key, value))
                    .to_vec(),
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: identity.service.to_owned(),
                    version: identity.version.to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

/// One family. Its name keeps its unit, so that it is the same name everywhere.
fn metric(family: &Family, between_ns: [u64; 2]) -> Metric {
    let numbers = || {
        let points = family.series.iter();
        points
            .filter_map(|(labels, value)| number(labels, value, between_ns))
            .collect()
    };
    let data = match family.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: numbers(),
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: family
                .series
                .iter()
                .filter_map(|(labels, value)| match value {
                    Value::Times(times) => Some(histogram(labels, times, between_ns)),
                    _ => None,
                })
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
    };
    Metric {
        name: family.name.clone(),
        description: family.help.to_owned(),
        unit: unit_of(&family.name).to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// The unit in UCUM's words, by the name's end.
fn unit_of(name: &str) -> &'static str {
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

fn number(labels: &Labels, value: &Value, between_ns: [u64; 2]) -> Option<NumberDataPoint> {
    let value = match value {
        // OTLP's whole numbers are signed: no counter comes that far.
        Value::Count(count) => number_data_point::Value::AsInt(count.cast_signed()),
        Value::Sum(value) | Value::Gauge(value) => number_data_point::Value::AsDouble(*value),
        Value::Times(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: between_ns[0],
        time_unix_nano: between_ns[1],
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn histogram(labels: &Labels, times: &Times, between_ns: [u64; 2]) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: between_ns[0],
        time_unix_nano: between_ns[1],
        count: times.count(),
        sum: Some(times.sum_ns as f64 / 1e9),
        bucket_counts: times.buckets.clone(),
        explicit_bounds: (0..times.buckets.len())
            .map_while(end_ns)
            .map(|end| end as f64 / 1e9)
            .collect(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(key, value)| attribute(key, value))
        .collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_keep_their_kinds_units_and_buckets() {
        let labels = || vec![("unit", "a.service".to_owned())];
        let mut buckets = vec![0; 28];
        buckets[27] = 2;
        let times = Times {
            buckets,
            sum_ns: 3_000_000_000,
        };
        let family = |name: &str, kind, value| Family {
            name: name.to_owned(),
            help: "help",
            kind,
            series: vec![(labels(), value)],
        };
        let families = [
            family("observastack_page_faults", Kind::Counter, Value::Count(7)),
            family(
                "observastack_memory_usage_bytes",
                Kind::Gauge,
                Value::Gauge(4096.0),
            ),
            family(
                "observastack_run_queue_latency_seconds",
                Kind::Histogram,
                Value::Times(times),
            ),
        ];
        let identity = Identity {
            service: "observastack-observer",
            instance: "observastack-observer".to_owned(),
            version: "1",
        };
        let bytes = request(&families, &identity, [5, 9]).encode_to_vec();
        let read = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
        let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
        let units: Vec<_> = metrics.iter().map(|metric| metric.unit.as_str()).collect();
        assert_eq!(units, ["1", "By", "s"]);
        let Some(Data::Sum(sum)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert!(sum.is_monotonic);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!(point.attributes[0].key, "unit");
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(7)));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else {
            panic!("{metrics:?}");
        };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (2, Some(3.0)));
        assert_eq!(point.explicit_bounds.len() + 1, point.bucket_counts.len());
        assert_eq!(point.explicit_bounds[0], 1.024e-6);
    }
}

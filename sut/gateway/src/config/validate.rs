//! What values are allowed: every violation is reported, not only the first.

use std::{collections::HashSet, fmt::Display, ops::RangeInclusive};

use observastack_kit::config::FieldError;

use super::{BucketConfig, GatewayConfig, RetryOn};

const MAX_UPSTREAMS: usize = 64;
const MAX_PATH_BYTES: usize = 256;

/// Collects violations, each with the dotted path of its field.
#[derive(Default)]
struct Report(Vec<FieldError>);

impl Report {
    fn refuse(
        &mut self,
        field: impl Into<String>,
        value: impl Display,
        allowed: impl Into<String>,
    ) {
        self.0.push(FieldError {
            field: field.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        });
    }

    fn range<T>(&mut self, field: impl Into<String>, value: T, allowed: RangeInclusive<T>)
    where
        T: PartialOrd + Display,
    {
        if !allowed.contains(&value) {
            let text = format!("{} to {}", allowed.start(), allowed.end());
            self.refuse(field, value, text);
        }
    }
}

pub(super) fn validate(config: &GatewayConfig) -> Result<(), Vec<FieldError>> {
    let mut report = Report::default();
    upstreams(config, &mut report);
    health_check(config, &mut report);
    retries(config, &mut report);
    bucket("rate_limit.global", &config.rate_limit.global, &mut report);
    bucket(
        "rate_limit.per_client",
        &config.rate_limit.per_client,
        &mut report,
    );

    let timeouts = &config.timeouts;
    report.range("timeouts.connect_ms", timeouts.connect_ms, 1..=60_000);
    report.range("timeouts.read_ms", timeouts.read_ms, 1..=300_000);
    report.range("timeouts.write_ms", timeouts.write_ms, 1..=300_000);
    report.range("timeouts.total_ms", timeouts.total_ms, 1..=600_000);

    let keepalive = &config.keepalive;
    report.range(
        "keepalive.upstream_idle_ms",
        keepalive.upstream_idle_ms,
        0..=3_600_000,
    );
    report.range(
        "keepalive.upstream_pool_size",
        keepalive.upstream_pool_size,
        1..=10_000,
    );
    report.range(
        "keepalive.downstream_idle_s",
        keepalive.downstream_idle_s,
        0..=3_600,
    );

    report.range(
        "limits.max_connections",
        config.limits.max_connections,
        1..=100_000,
    );
    report.range(
        "limits.max_in_flight",
        config.limits.max_in_flight,
        1..=100_000,
    );
    report.range(
        "limits.max_body_bytes",
        config.limits.max_body_bytes,
        0..=1_073_741_824,
    );
    report.range("worker_threads", config.worker_threads, 1..=64);
    report.range("drain_timeout_ms", config.drain_timeout_ms, 0..=300_000);

    config.traces.validate("traces", &mut report.0);

    if report.0.is_empty() {
        Ok(())
    } else {
        Err(report.0)
    }
}

fn upstreams(config: &GatewayConfig, report: &mut Report) {
    if config.upstreams.is_empty() || config.upstreams.len() > MAX_UPSTREAMS {
        report.refuse(
            "upstreams",
            format!("a list of {}", config.upstreams.len()),
            format!("a list of 1 to {MAX_UPSTREAMS}"),
        );
    }
    let mut seen = HashSet::new();
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let field = format!("upstreams.{index}.address");
        let address = upstream.address;
        if address.port() == 0 || address.ip().is_unspecified() {
            report.refuse(field, address, super::ADDRESS_ALLOWED);
        } else if !seen.insert(address) {
            report.refuse(field, address, "an address that is in the list once");
        }
        report.range(
            format!("upstreams.{index}.weight"),
            upstream.weight,
            1..=100,
        );
    }
}

fn health_check(config: &GatewayConfig, report: &mut Report) {
    let check = &config.health_check;
    let path = &check.path;
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') || path.len() > MAX_PATH_BYTES || !plain {
        report.refuse(
            "health_check.path",
            path,
            format!("a path that starts with / and has at most {MAX_PATH_BYTES} printable ASCII characters"),
        );
    }
    report.range("health_check.interval_ms", check.interval_ms, 50..=60_000);
    report.range("health_check.timeout_ms", check.timeout_ms, 10..=60_000);
    report.range("health_check.healthy_after", check.healthy_after, 1..=100);
    report.range(
        "health_check.unhealthy_after",
        check.unhealthy_after,
        1..=100,
    );
    report.range(
        "health_check.avoid_after_connect_failure_ms",
        check.avoid_after_connect_failure_ms,
        0..=60_000,
    );
}

fn retries(config: &GatewayConfig, report: &mut Report) {
    let retries = &config.retries;
    report.range("retries.max_attempts", retries.max_attempts, 1..=10);
    for (index, status) in retries.statuses.iter().enumerate() {
        report.range(format!("retries.statuses.{index}"), *status, 500..=599);
    }
    if retries.on.contains(&RetryOn::Status) && retries.statuses.is_empty() {
        report.refuse(
            "retries.statuses",
            "an empty list",
            "at least one of 500 to 599 while retries.on has \"status\"",
        );
    }
    report.range("retries.budget.ratio", retries.budget.ratio, 0.0..=10.0);
    report.range(
        "retries.budget.min_per_second",
        retries.budget.min_per_second,
        0..=1_000,
    );
    report.range(
        "retries.budget.window_ms",
        retries.budget.window_ms,
        1_000..=60_000,
    );
}

fn bucket(field: &str, bucket: &BucketConfig, report: &mut Report) {
    let rate = bucket.requests_per_second;
    if !(rate > 0.0 && rate <= 1_000_000.0) {
        report.refuse(
            format!("{field}.requests_per_second"),
            rate,
            "above 0 up to 1000000",
        );
    }
    report.range(format!("{field}.burst"), bucket.burst, 1..=1_000_000);
}

#[cfg(test)]
mod tests {
    use observastack_kit::config::ServiceConfig;
    use proptest::prelude::*;

    use super::*;
    use crate::config::UpstreamConfig;

    fn refused_fields(config: &GatewayConfig) -> Vec<String> {
        match config.validate() {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.field).collect(),
        }
    }

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = GatewayConfig::default();
        assert_eq!(refused_fields(&config), Vec::<String>::new());
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<GatewayConfig>(&json).unwrap(),
            config
        );
        assert_eq!(serde_json::from_str::<GatewayConfig>("{}").unwrap(), config);
    }

    #[test]
    fn every_restart_field_exists() {
        let json = serde_json::to_value(GatewayConfig::default()).unwrap();
        for field in GatewayConfig::restart_fields() {
            let pointer = format!("/{}", field.replace('.', "/"));
            assert!(json.pointer(&pointer).is_some(), "{field} is not a field");
        }
    }

    #[test]
    fn all_violations_are_reported_with_their_field() {
        let mut config = GatewayConfig::default();
        config.timeouts.read_ms = 0;
        config.retries.budget.ratio = f64::NAN;
        config.retries.statuses = vec![503, 404];
        config.upstreams[1].weight = 0;
        config.health_check.path = "healthz".to_owned();
        config.rate_limit.global.requests_per_second = 0.0;
        assert_eq!(
            refused_fields(&config),
            [
                "upstreams.1.weight",
                "health_check.path",
                "retries.statuses.1",
                "retries.budget.ratio",
                "rate_limit.global.requests_per_second",
                "timeouts.read_ms",
            ]
        );
    }

    #[test]
    fn an_upstream_list_must_have_distinct_reachable_addresses() {
        let upstream = |address: &str| UpstreamConfig {
            address: address.parse().unwrap(),
            weight: 1,
        };
        let mut config = GatewayConfig {
            upstreams: vec![],
            ..GatewayConfig::default()
        };
        assert_eq!(refused_fields(&config), ["upstreams"]);
        config.upstreams = vec![
            upstream("10.0.0.1:80"),
            upstream("10.0.0.1:80"),
            upstream("0.0.0.0:80"),
            upstream("[::1]:0"),
        ];
        assert_eq!(
            refused_fields(&config),
            [
                "upstreams.1.address",
                "upstreams.2.address",
                "upstreams.3.address"
            ]
        );
    }

    #[test]
    fn retrying_on_status_needs_statuses() {
        let mut config = GatewayConfig::default();
        config.retries.on = vec![RetryOn::Status];
        config.retries.statuses.clear();
        assert_eq!(refused_fields(&config), ["retries.statuses"]);
    }

    proptest! {
        #[test]
        fn a_number_out_of_range_is_refused_and_one_in_range_is_not(
            connect_ms in 0u64..200_000, attempts in 0usize..30, ratio in -5.0f64..20.0, burst in 0u32..2_000_000,
        ) {
            let mut config = GatewayConfig::default();
            config.timeouts.connect_ms = connect_ms;
            config.retries.max_attempts = attempts;
            config.retries.budget.ratio = ratio;
            config.rate_limit.global.burst = burst;
            let refused = refused_fields(&config);
            let has = |field: &str| refused.iter().any(|refused| refused == field);
            prop_assert_eq!(has("timeouts.connect_ms"), !(1..=60_000).contains(&connect_ms));
            prop_assert_eq!(has("retries.max_attempts"), !(1..=10).contains(&attempts));
            prop_assert_eq!(has("retries.budget.ratio"), !(0.0..=10.0).contains(&ratio));
            prop_assert_eq!(has("rate_limit.global.burst"), !(1..=1_000_000).contains(&burst));
        }
    }
}

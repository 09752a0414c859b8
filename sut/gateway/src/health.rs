//! Active health checks: the registry's rounds, with settings that change while they run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use observastack_kit::{config::ConfigStore, health::Indicator, lifecycle::stopped};
use pingora::{
    Error, ErrorType,
    http::RequestHeader,
    lb::{
        Backend, HealthRegistry,
        health_check::{HealthCheck, HttpHealthCheck},
    },
};
use tokio::sync::watch;

use crate::{
    config::{GatewayConfig, HealthCheckConfig},
    metrics::GatewayMetrics,
    upstreams::Upstreams,
};

const HOST: &str = "observastack-gateway-health-check";

/// Runs the checks. One for the process: the registry takes its check once and for all.
pub struct HealthChecks {
    registry: Arc<HealthRegistry>,
    probe: Probe,
}

/// What the registry calls for each upstream. It wants to own its check, so this is a handle.
#[derive(Clone)]
struct Probe(Arc<ProbeState>);

struct ProbeState {
    settings: ArcSwap<Settings>,
    /// Until the first round is over one failure is enough: at start nothing is known to be healthy.
    first_round: AtomicBool,
}

struct Settings {
    config: HealthCheckConfig,
    request: HttpHealthCheck,
}

impl Settings {
    fn new(config: &HealthCheckConfig) -> pingora::Result<Self> {
        let mut request = HttpHealthCheck::new(HOST, false);
        request.req = RequestHeader::build("GET", config.path.as_bytes(), Some(2))?;
        request.req.insert_header(http::header::HOST, HOST)?;
        request.req.insert_header(http::header::USER_AGENT, HOST)?;
        // A connection of its own for each check: a reused one would hide that no new ones can be made.
        request.reuse_connection = false;
        let timeout = Some(Duration::from_millis(config.timeout_ms));
        request.peer_template.options.connection_timeout = timeout;
        request.peer_template.options.read_timeout = timeout;
        request.peer_template.options.write_timeout = timeout;
        Ok(Self {
            config: config.clone(),
            request,
        })
    }
}

#[async_trait]
impl HealthCheck for Probe {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let settings = self.0.settings.load_full();
        let limit = Duration::from_millis(settings.config.timeout_ms);
        match tokio::time::timeout(limit, settings.request.check(target)).await {
            Ok(result) => result,
            Err(_) => Error::e_explain(
                ErrorType::ReadTimedout,
                format!("health check not over after {limit:?}"),
            ),
        }
    }

    fn backend_summary(&self, target: &Backend) -> String {
        format!("upstream {}", target.addr)
    }

    fn health_threshold(&self, success: bool) -> usize {
        let settings = self.0.settings.load();
        match success {
            true => settings.config.healthy_after,
            false if self.0.first_round.load(Ordering::Relaxed) => 1,
            false => settings.config.unhealthy_after,
        }
    }
}

impl HealthChecks {
    /// Gives `registry` its check. Call once for a registry.
    pub fn new(registry: Arc<HealthRegistry>, config: &HealthCheckConfig) -> pingora::Result<Self> {
        let probe = Probe(Arc::new(ProbeState {
            settings: ArcSwap::from_pointee(Settings::new(config)?),
            first_round: AtomicBool::new(true),
        }));
        registry.set_health_check(Box::new(probe.clone()));
        Ok(Self { registry, probe })
    }

    /// One round over all upstreams at once; a no-op while checks are off. Takes `timeout_ms` at most.
    pub async fn round(&self) {
        if self.probe.0.settings.load().config.enabled {
            self.registry.run_health_check(true).await;
        }
        self.probe.0.first_round.store(false, Ordering::Relaxed);
    }

    /// Rounds until `stop`, at the configured interval and right after a change of the configuration.
    pub async fn run(
        self,
        store: ConfigStore<GatewayConfig>,
        report: HealthReport,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut changes = store.subscribe();
        loop {
            let config = changes.borrow_and_update().config.clone();
            if self.probe.0.settings.load().config != config.health_check {
                match Settings::new(&config.health_check) {
                    Ok(settings) => self.probe.0.settings.store(Arc::new(settings)),
                    Err(error) => {
                        tracing::error!(%error, "the new health check cannot be used, the old one goes on")
                    }
                }
            }
            report.apply(&config).await;
            let wait = Duration::from_millis(config.health_check.interval_ms);
            let round = async {
                self.round().await;
                report.publish();
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                () = round => {}
                // A change drops a round that is under way and starts another, so it never waits for a slow check.
                changed = changes.changed() => if changed.is_err() { return },
                () = stopped(&mut stop) => return,
            }
        }
    }
}

/// Where the upstreams' health is shown.
pub struct HealthReport {
    /// Whose health it is.
    pub upstreams: Arc<Upstreams>,
    /// One gauge for each upstream.
    pub metrics: GatewayMetrics,
    /// The service is ready while one upstream is healthy.
    pub readiness: Indicator,
}

impl HealthReport {
    /// Brings the upstreams in line with the configuration.
    async fn apply(&self, config: &GatewayConfig) {
        match self.upstreams.apply(config).await {
            Ok(gone) => gone
                .into_iter()
                .for_each(|address| self.metrics.forget(address)),
            Err(error) => {
                tracing::error!(%error, "the new upstreams cannot be used, the old ones go on")
            }
        }
        self.publish();
    }

    /// Shows the health of now.
    pub fn publish(&self) {
        let health = self.upstreams.pool().health();
        for (upstream, healthy) in &health {
            self.metrics.set_healthy(&upstream.name, *healthy);
        }
        if health.iter().any(|(_, healthy)| *healthy) {
            self.readiness.up();
        } else {
            self.readiness.down("no upstream passes its health checks");
        }
    }
}

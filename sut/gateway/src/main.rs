//! The gateway's process: arguments, sockets, and the tasks that run until systemd stops it.
#![forbid(unsafe_code)]

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use observastack_gateway::{
    access_log::AccessLog,
    config::GatewayConfig,
    health::{HealthChecks, HealthReport},
    metrics::GatewayMetrics,
    proxy::Gateway,
    server,
    upstreams::{Upstreams, health_registry},
};
use observastack_kit::{
    admin::{self, AdminSocket},
    config::ConfigStore,
    health::Health,
    http::{self, Server},
    lifecycle::{Lifecycle, stopped},
    ops::{self, Ops},
};
use observastack_telemetry::{
    logs, metrics,
    otlp::{self, Identity},
    profiles,
};
use tokio::{runtime, sync::watch, time::timeout};

const SERVICE: &str = "observastack-gateway";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// More than the longest `drain_timeout_ms`; systemd's TimeoutStopSec= is the real limit.
const STOP_LIMIT: Duration = Duration::from_secs(305);
const LAST_LOG_RECORDS: Duration = Duration::from_secs(1);
/// How long spans and log records may take that are still to be sent at the end.
const LAST_TELEMETRY: Duration = Duration::from_secs(2);

/// The only door of the ObservaStack shop: balances requests over the API instances.
///
/// The upstreams and everything else are in the configuration, which is changed through the admin socket.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true)]
struct Args {
    /// Address for the shop's clients
    #[arg(long, env = "OBSERVASTACK_LISTEN", default_value = "0.0.0.0:8000")]
    listen: SocketAddr,
    /// Address for /metrics, /healthz and /livez
    #[arg(
        long,
        env = "OBSERVASTACK_OPS_LISTEN",
        default_value = "127.0.0.1:8001"
    )]
    ops_listen: SocketAddr,
    /// Directory of the gateway's own configuration, config.json
    #[arg(
        long,
        env = "OBSERVASTACK_STATE_DIR",
        default_value = "/var/lib/observastack/gateway"
    )]
    state_dir: PathBuf,
    /// Unix socket of the admin API
    #[arg(
        long,
        env = "OBSERVASTACK_ADMIN_SOCKET",
        default_value = "/run/observastack/gateway/admin.sock"
    )]
    admin_socket: PathBuf,
    /// Configuration of the site, used while the state directory has none; need not exist
    #[arg(
        long,
        env = "OBSERVASTACK_SITE_CONFIG",
        default_value = "/etc/observastack/gateway.json"
    )]
    site_config: PathBuf,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{SERVICE}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What can fail at once fails here, before anything runs.
fn start(args: &Args) -> anyhow::Result<()> {
    logs::init(SERVICE)?;
    let store = ConfigStore::<GatewayConfig>::open(&args.state_dir, Some(&args.site_config))?;
    let sockets = Sockets {
        shop: http::bind(args.listen).context("--listen")?,
        ops: http::bind(args.ops_listen).context("--ops-listen")?,
        admin: admin::bind(&args.admin_socket).context("--admin-socket")?,
    };
    let mut registry = metrics::registry(SERVICE, VERSION);
    let identity = Identity {
        service: SERVICE,
        instance: SERVICE.to_owned(),
        version: VERSION,
    };
    let otlp = otlp::start(&identity, &mut registry)?;
    let _profiler = profiles::start(&identity)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(store.started().config.worker_threads)
        .thread_name("gateway")
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let ended = runtime.block_on(run(sockets, store, registry));
    otlp.shut_down(LAST_TELEMETRY);
    ended
}

struct Sockets {
    shop: TcpListener,
    ops: TcpListener,
    admin: AdminSocket,
}

async fn run(
    sockets: Sockets,
    store: ConfigStore<GatewayConfig>,
    mut registry: metrics::Registry,
) -> anyhow::Result<()> {
    let gateway_metrics = GatewayMetrics::register(&mut registry);
    store.register_metrics(&mut registry);
    let health = Health::new();
    let ops = Ops {
        health: health.clone(),
        registry: Arc::new(registry),
    };
    let mut lifecycle = Lifecycle::new(health.clone())?;

    let config = &store.started().config;
    let health_registry = health_registry();
    let upstreams = Arc::new(Upstreams::new(Arc::clone(&health_registry), config).await?);
    let checks = HealthChecks::new(health_registry, &config.health_check)?;
    let report = HealthReport {
        upstreams: Arc::clone(&upstreams),
        metrics: gateway_metrics.clone(),
        readiness: health.readiness("upstreams"),
    };
    // The first client is not to find out which upstreams are down.
    checks.round().await;
    report.publish();

    let (access_log, log_writer) = AccessLog::start(gateway_metrics.clone());
    let gateway = Gateway::new(
        store.clone(),
        upstreams,
        gateway_metrics,
        access_log,
        lifecycle.shutdown(),
    );
    tracing::info!(
        listen = %sockets.shop.local_addr()?,
        ops_listen = %sockets.ops.local_addr()?,
        "listening"
    );
    let stop = lifecycle.shutdown();
    lifecycle.spawn("the sampler", follow_sampling(store.clone(), stop.clone()));
    lifecycle.spawn("the health checks", {
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            checks.run(store, report, stop).await;
            Ok::<_, Infallible>(())
        }
    });
    lifecycle.spawn(
        "the operations server",
        Server::new(sockets.ops).serve(ops::routes(ops.clone()), stop.clone()),
    );
    lifecycle.spawn(
        "the admin server",
        admin::serve(sockets.admin, SERVICE, store.clone(), ops, stop.clone()),
    );
    lifecycle.spawn(
        "the gateway",
        server::serve(sockets.shop, gateway, store.clone(), stop),
    );
    lifecycle.run(&store, STOP_LIMIT).await?;
    // The gateway is gone, and with it the log's last sender.
    let _ = timeout(LAST_LOG_RECORDS, log_writer).await;
    Ok(())
}

/// Hands each new configuration to the sampler.
async fn follow_sampling(
    store: ConfigStore<GatewayConfig>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Infallible> {
    store.current().config.traces.apply();
    let mut changes = store.subscribe();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                changes.borrow_and_update().config.traces.apply();
            }
        }
    }
}

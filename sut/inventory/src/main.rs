//! The inventory service's process; see the library for what it does.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use observastack_inventory::service::assemble;
use observastack_inventory::settings::InventoryConfig;
use observastack_kit::config::ConfigStore;
use observastack_kit::database::DatabaseArgs;
use observastack_kit::lifecycle::{Ended, Lifecycle};
use observastack_kit::process::{self, Routes};
use observastack_kit::{admin, http};
use observastack_telemetry::otlp::{self, Identity};
use observastack_telemetry::{metrics, profiles};

/// How long requests in flight have after SIGTERM; the server's own drain takes 10 s of it at most.
const GRACE: Duration = Duration::from_secs(15);

/// How long spans and log records may take that are still to be sent then.
const LAST_TELEMETRY: Duration = Duration::from_secs(2);

const SERVICE: &str = "observastack-inventory";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// ObservaStack's inventory service: owns the shop's stock.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address of the service's port.
    #[arg(long, env = "OBSERVASTACK_LISTEN", default_value = "127.0.0.1:8200")]
    listen: SocketAddr,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Directory for the configuration as it was last changed.
    #[arg(
        long,
        env = "OBSERVASTACK_STATE_DIR",
        default_value = "/var/lib/observastack/inventory"
    )]
    state_dir: PathBuf,
    /// Unix socket of the admin API.
    #[arg(
        long,
        env = "OBSERVASTACK_ADMIN_SOCKET",
        default_value = "/run/observastack/inventory/admin.sock"
    )]
    admin_socket: PathBuf,
    /// The administrator's configuration; need not exist.
    #[arg(
        long,
        env = "OBSERVASTACK_SITE_CONFIG",
        default_value = "/etc/observastack/inventory.json"
    )]
    site_config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    process::main(SERVICE, || run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = ConfigStore::<InventoryConfig>::open(&args.state_dir, Some(&args.site_config))?;
    let listener = http::bind(args.listen)?;
    let admin_socket = admin::bind(&args.admin_socket)?;
    let mut registry = metrics::registry(SERVICE, VERSION);
    let identity = Identity {
        service: SERVICE,
        instance: SERVICE.to_owned(),
        version: VERSION,
    };
    let otlp = otlp::start(&identity, &mut registry)?;
    let _profiler = profiles::start(&identity)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(serve(args, config, registry, listener, admin_socket))?;
    tracing::info!(?ended, "stopped");
    otlp.shut_down(LAST_TELEMETRY);
    Ok(())
}

/// Listens at once, so that `/healthz` can tell what is missing; ready when the schema is there.
async fn serve(
    args: &Args,
    config: ConfigStore<InventoryConfig>,
    registry: metrics::Registry,
    listener: std::net::TcpListener,
    admin_socket: admin::AdminSocket,
) -> anyhow::Result<Ended> {
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let mut service = assemble(&args.database, config.clone(), registry)?;
    let mut lifecycle = Lifecycle::new(service.ops.health.clone())?;
    process::serve(
        &mut lifecycle,
        SERVICE,
        &config,
        (listener, admin_socket),
        Routes {
            router: service.router,
            http_metrics: service.http_metrics,
            ops: service.ops,
        },
    );
    tracing::info!(%address, "listening");

    let ready = async {
        // Fails with the supervisor only, which is never ended while we wait.
        let _ = service.migrated.wait_for(|migrated| *migrated).await;
    };
    Ok(lifecycle.run_when(ready, &config, GRACE).await?)
}

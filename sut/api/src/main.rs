//! The API server's process; see the library for what it does.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use observastack_api::service::assemble;
use observastack_api::settings::ApiConfig;
use observastack_kit::config::ConfigStore;
use observastack_kit::database::DatabaseArgs;
use observastack_kit::lifecycle::{Ended, Lifecycle, stopped};
use observastack_kit::process::{self, Routes};
use observastack_kit::{admin, http};
use observastack_telemetry::otlp::{self, Identity};
use observastack_telemetry::{metrics, profiles};

/// How long requests in flight and what they left behind have after SIGTERM; the server's own drain takes 10 s of it.
const GRACE: Duration = Duration::from_secs(20);

/// How long spans and log records may take that are still to be sent then.
const LAST_TELEMETRY: Duration = Duration::from_secs(2);

const SERVICE: &str = "observastack-api";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// ObservaStack's API server: products, orders and a sales report.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Number of this instance, from 1.
    #[arg(long, env = "OBSERVASTACK_INSTANCE", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    instance: u16,
    /// Address of the service's port [default: 127.0.0.1, port 8100 + instance].
    #[arg(long, env = "OBSERVASTACK_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where the inventory service is: http://HOST:PORT.
    #[arg(long, env = "OBSERVASTACK_INVENTORY", default_value = "http://127.0.0.1:8200", value_parser = inventory_address)]
    inventory: ::http::Uri,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Directory for the configuration as it was last changed [default: /var/lib/observastack/api-INSTANCE].
    #[arg(long, env = "OBSERVASTACK_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Unix socket of the admin API [default: /run/observastack/api-INSTANCE/admin.sock].
    #[arg(long, env = "OBSERVASTACK_ADMIN_SOCKET")]
    admin_socket: Option<PathBuf>,
    /// The administrator's configuration; need not exist.
    #[arg(
        long,
        env = "OBSERVASTACK_SITE_CONFIG",
        default_value = "/etc/observastack/api.json"
    )]
    site_config: PathBuf,
}

impl Args {
    fn listen(&self) -> SocketAddr {
        self.listen
            .unwrap_or_else(|| ([127, 0, 0, 1], 8100 + self.instance).into())
    }

    fn state_dir(&self) -> PathBuf {
        let default = || format!("/var/lib/observastack/api-{}", self.instance).into();
        self.state_dir.clone().unwrap_or_else(default)
    }

    fn admin_socket(&self) -> PathBuf {
        let default = || format!("/run/observastack/api-{}/admin.sock", self.instance).into();
        self.admin_socket.clone().unwrap_or_else(default)
    }
}

fn inventory_address(text: &str) -> Result<::http::Uri, String> {
    let uri: ::http::Uri = text
        .parse()
        .map_err(|error| format!("{error}; allowed: http://HOST:PORT"))?;
    let plain = uri.scheme_str() == Some("http")
        && uri.authority().is_some()
        && uri.path() == "/"
        && uri.query().is_none();
    if plain {
        Ok(uri)
    } else {
        Err("allowed: http://HOST:PORT".to_owned())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    process::main(SERVICE, || run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = ConfigStore::<ApiConfig>::open(&args.state_dir(), Some(&args.site_config))?;
    let listener = http::bind(args.listen())?;
    let admin_socket = admin::bind(&args.admin_socket())?;
    let mut registry = metrics::registry(SERVICE, VERSION);
    let identity = Identity {
        service: SERVICE,
        instance: format!("{SERVICE}@{}", args.instance),
        version: VERSION,
    };
    let otlp = otlp::start(&identity, &mut registry)?;
    let _profiler = profiles::start(&identity)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(serve(args, config, registry, listener, admin_socket))?;
    // A report that is still being computed is nobody's any more.
    runtime.shutdown_background();
    tracing::info!(?ended, "stopped");
    otlp.shut_down(LAST_TELEMETRY);
    Ok(())
}

/// Listens at once, so that `/healthz` can tell what is missing; ready when the schema is there.
async fn serve(
    args: &Args,
    config: ConfigStore<ApiConfig>,
    registry: metrics::Registry,
    listener: std::net::TcpListener,
    admin_socket: admin::AdminSocket,
) -> anyhow::Result<Ended> {
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let mut service = assemble(
        &args.database,
        args.inventory.clone(),
        config.clone(),
        registry,
    )?;
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
    let (background, mut shutdown) = (service.background, lifecycle.shutdown());
    lifecycle.spawn("background work", async move {
        stopped(&mut shutdown).await;
        background.drained().await;
        Ok::<_, std::convert::Infallible>(())
    });
    tracing::info!(%address, instance = args.instance, "listening");

    let ready = async {
        // Fails with the supervisor only, which is never ended while we wait.
        let _ = service.migrated.wait_for(|migrated| *migrated).await;
    };
    Ok(lifecycle.run_when(ready, &config, GRACE).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_decides_port_and_directories() {
        let args = Args::parse_from(["observastack-api", "--instance", "3"]);
        assert_eq!(args.listen().to_string(), "127.0.0.1:8103");
        assert_eq!(
            args.state_dir(),
            PathBuf::from("/var/lib/observastack/api-3")
        );
        assert_eq!(
            args.admin_socket(),
            PathBuf::from("/run/observastack/api-3/admin.sock")
        );
    }

    #[test]
    fn bad_usage_names_what_is_allowed() {
        for (flag, value, allowed) in [
            ("--instance", "0", "1..=99"),
            ("--inventory", "127.0.0.1:8200", "http://HOST:PORT"),
            ("--inventory", "https://host:1", "http://HOST:PORT"),
            ("--listen", "8101", "invalid socket address"),
        ] {
            let error = Args::try_parse_from(["observastack-api", flag, value]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(allowed), "{error}");
        }
    }
}

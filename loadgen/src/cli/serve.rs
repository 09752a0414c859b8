//! `serve`: load on demand.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use observastack_loadgen::{
    metrics::Exposed,
    service::{Service, router},
};
use observastack_telemetry::{logs, notify, socket};
use tokio::signal::unix::{SignalKind, signal};

/// Make load on demand: driven over HTTP on a Unix socket, see `curl --unix-socket SOCKET http://loadgen/v1/load`
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The socket; whoever may write to it may drive the load
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/observastack/loadgen/loadgen.sock"
    )]
    socket: PathBuf,
    /// Serve what is measured to Prometheus at this address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8305")]
    metrics: SocketAddr,
    /// Threads of a load; one takes tens of thousands of requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
}

/// How long the last answers of a load have after the stop.
const DRAIN: Duration = Duration::from_secs(15);

pub(crate) fn main(serve: &Serve) -> ExitCode {
    if let Err(error) = logs::init("observastack-loadgen") {
        return super::usage(&error.to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start");
    match runtime.and_then(|runtime| runtime.block_on(run(serve))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failed(&error),
    }
}

async fn run(serve: &Serve) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = socket::listen(&serve.socket).await?;
    let exposed = Exposed::idle();
    exposed
        .serve(serve.metrics)
        .await
        .with_context(|| format!("--metrics {}: cannot listen there", serve.metrics))?;
    let service = Service::new(exposed, serve.threads as usize);
    let router = router(service.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    notify::ready();
    tracing::info!(socket = %serve.socket.display(), metrics = %serve.metrics, "ready for a load");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::stopping();
    if tokio::time::timeout(DRAIN, service.shut_down())
        .await
        .is_err()
    {
        tracing::warn!("the last answers of the load were not waited for");
    }
    server.abort();
    // Gone already where the service manager has removed its directory.
    let _ = std::fs::remove_file(&serve.socket);
    Ok(())
}

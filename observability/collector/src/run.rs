//! The composition root: opens, listens, tells systemd, drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use observastack_telemetry::metrics::{CONTENT_TYPE, Registry, encode};
use observastack_telemetry::notify;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use crate::forward::Forward;
use crate::intake::{self, Intake};
use crate::metrics::Metrics;
use crate::otlp::{self, Memory, Receiver, http::Context};
use crate::settings::Settings;
use crate::store::{StoreError, Tail, Writer, WriterOptions, read::Pool};
use crate::{profiles, query, server};

/// Commits that a live tail may be behind.
const TAIL: usize = 64;
/// How long everything that serves has after the stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the collector did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port cannot be used.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// For what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The process cannot be set up.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The writer is gone.
    #[error("the store's writer ended by itself; what it had not written is lost")]
    WriterEnded,
}

/// Runs until SIGTERM or SIGINT; what was accepted until then is stored when it returns.
///
/// # Errors
/// See [`RunError`].
pub fn run(settings: Settings) -> Result<(), RunError> {
    let (registry, metrics) = Metrics::register();
    let (tail, _) = broadcast::channel(TAIL);
    let writer = Writer::open(WriterOptions {
        directory: settings.store_dir.clone(),
        bounds: settings.bounds,
        tail: tail.clone(),
        metrics: metrics.clone(),
    })?;
    let pool = Pool::open(&settings.store_dir)?;
    let (intake, outlet) = intake::queue(settings.queue, metrics.clone());
    let (ended, writer_ended) = watch::channel(false);
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            // Dropped also when the thread panics, which is what the receiver waits for.
            let _ended = ended;
            writer.run(&outlet);
        })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Decoding is the work; more threads than cores only hold more memory.
        .worker_threads(
            std::thread::available_parallelism()
                .map_or(2, usize::from)
                .min(4),
        )
        .max_blocking_threads(8)
        .enable_all()
        .build()?;
    let parts = Parts {
        registry,
        metrics,
        tail,
        pool,
        intake: intake.clone(),
        writer_ended,
    };
    let served = runtime.block_on(serve(settings, parts));
    intake.close();
    let written = thread.join();
    runtime.shutdown_timeout(Duration::from_secs(1));
    served?;
    written.map_err(|_| RunError::WriterEnded)?;
    tracing::info!("stopped, everything that was accepted is stored");
    Ok(())
}

struct Parts {
    registry: Registry,
    metrics: Metrics,
    tail: Tail,
    pool: Pool,
    intake: Intake,
    writer_ended: watch::Receiver<bool>,
}

async fn serve(settings: Settings, parts: Parts) -> Result<(), RunError> {
    let grpc = listen(settings.otlp_grpc, "OTLP/gRPC").await?;
    let http = listen(settings.otlp_http, "OTLP/HTTP").await?;
    let questions = listen(settings.query, "queries").await?;
    let scrapes = listen(settings.metrics, "/metrics").await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(
        otlp_grpc = %grpc.local_addr()?, otlp_http = %http.local_addr()?, query = %questions.local_addr()?,
        metrics = %scrapes.local_addr()?, store = %settings.store_dir.display(), "listening"
    );

    let (stop, shutdown) = watch::channel(false);
    let (forward, forwarding) = Forward::start(settings.targets, &parts.metrics, &shutdown);
    let receiver = Receiver::new(parts.intake, forward, parts.metrics);
    let context = Context {
        receiver: receiver.clone(),
        limits: settings.requests,
        memory: Memory::new(settings.requests.all_bodies_bytes),
    };
    let state = query::State {
        pool: parts.pool,
        tail: parts.tail,
        shutdown: shutdown.clone(),
        tails: Arc::new(Semaphore::new(query::TAILS)),
    };
    let received = otlp::http::routes(context.clone()).merge(profiles::routes(context));
    let mut serving = JoinSet::new();
    serving.spawn(server::serve(http, received, shutdown.clone()));
    serving.spawn(server::serve(
        questions,
        query::routes(state),
        shutdown.clone(),
    ));
    serving.spawn(server::serve(
        scrapes,
        metrics_route(parts.registry),
        shutdown.clone(),
    ));
    serving.spawn({
        let shutdown = shutdown.clone();
        async move {
            if let Err(error) = otlp::grpc::serve(grpc, receiver, settings.requests, shutdown).await
            {
                tracing::error!(%error, "OTLP/gRPC ended");
            }
        }
    });
    let mut writer_ended = parts.writer_ended;
    let watched = writer_ended.clone();
    let watchdog = tokio::spawn(notify::watchdog(
        move || watched.has_changed().is_ok(),
        std::future::pending(),
    ));
    notify::ready();

    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        // Only an error ends this: the sender is gone with its thread.
        _ = writer_ended.changed() => Err(RunError::WriterEnded),
    };
    notify::stopping();
    tracing::info!("stopping");
    let _ = stop.send(true);
    let drained = async {
        while serving.join_next().await.is_some() {}
        for task in forwarding {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::info!("what still ran was cut off");
    }
    watchdog.abort();
    ended
}

async fn listen(address: SocketAddr, what: &'static str) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen {
            address,
            what,
            source,
        })
}

fn metrics_route(registry: Registry) -> Router {
    let registry = Arc::new(registry);
    Router::new().route(
        "/metrics",
        get(move || {
            let text = encode(&registry);
            async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], text) }
        }),
    )
}

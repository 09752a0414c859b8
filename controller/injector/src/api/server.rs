//! The accept loop.

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use hyper::{StatusCode, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use observastack_loader::capability::{self, Capability};
use observastack_spec::api::{Answer, CapabilityReport, ErrorCode, FaultSupport};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OnceCell, Semaphore},
};
use tracing::{debug, warn};

use super::{
    peer,
    response::{Failure, json},
    routes,
};
use crate::{engine::Engine, host::hands::Hands, report};

/// Connections served at once; more wait in the listener's queue.
const CONNECTIONS: usize = 64;
/// Decision streams at once, which leaves connections for everything else.
pub(crate) const STREAMS: usize = 16;
/// How long a connection may take for a request's headers, and stay idle: idle ones must not keep others out.
const HEADERS: Duration = Duration::from_secs(2);
/// How long requests in flight may take once the injector is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// What every request needs.
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) hands: Hands,
    pub(crate) guard_dir: PathBuf,
    /// What the kernel can do, asked once: it stays the same while it runs.
    pub(crate) kernel: OnceCell<Vec<Capability>>,
    pub(crate) slices: Vec<String>,
    pub(crate) cgroup_root: PathBuf,
    pub(crate) group: String,
    /// Room for [`STREAMS`] decision streams.
    pub(crate) streams: Arc<Semaphore>,
}

impl Context {
    /// What this machine can do: the kernel is asked once, everything else each time.
    pub(crate) async fn capabilities(&self) -> Result<CapabilityReport, Failure> {
        let refusals = self.engine.refusals().await?;
        let failed =
            |error: tokio::task::JoinError| Failure::internal(format!("the probe failed: {error}"));
        let root = self.cgroup_root.clone();
        let kernel = self
            .kernel
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(move || capability::probe(&root)).await
            })
            .await
            .map_err(failed)?
            .clone();
        let (root, slices, guard) = (
            self.cgroup_root.clone(),
            self.slices.clone(),
            self.guard_dir.clone(),
        );
        let look = move || report::report(&kernel, &root, &slices, &guard, &refusals);
        tokio::task::spawn_blocking(look).await.map_err(failed)
    }

    /// Whether one fault works here, by what was found out last.
    pub(crate) async fn support(&self, kind: &str) -> Result<FaultSupport, Failure> {
        let report = self.capabilities().await?;
        let found = report.faults.into_iter().find(|fault| fault.fault == kind);
        found.ok_or_else(|| Failure::internal(format!("nothing is known of {kind}")))
    }

    /// Refuses a fault that this machine is known not to do. The engine knows of the kernel's programs by itself: only what
    /// is beside them costs a probe.
    pub(crate) async fn check_support(&self, kind: &str) -> Result<(), Failure> {
        if !report::needs_the_machine(kind) {
            return Ok(());
        }
        let support = self.support(kind).await?;
        if support.answer == Answer::No {
            return Err(Failure::unsupported(format!(
                "this machine cannot do {kind}: {}",
                support.reason
            )));
        }
        Ok(())
    }
}

/// Serves until `shutdown` is done, then drains.
pub(crate) async fn serve(
    listener: UnixListener,
    context: Context,
    shutdown: impl Future<Output = ()>,
) {
    let context = Arc::new(context);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                // Out of file descriptors, most likely: not at full speed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = connection(stream, Arc::clone(&context), graceful.watcher());
        tokio::spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        debug!("connections were still open when the injector stopped");
    }
}

async fn accept(
    listener: &UnixListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection(stream: UnixStream, context: Arc<Context>, watcher: Watcher) {
    let admitted = peer::admit(&stream, &context.group);
    let service = service_fn(move |request| {
        let context = Arc::clone(&context);
        let admitted = admitted.clone();
        async move {
            let answer = match admitted {
                Ok(peer) => routes::answer(&context, peer, request).await,
                Err(why) => {
                    warn!(why, "refused");
                    let failure = Failure::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, why);
                    json(failure.status, &failure.body)
                }
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "connection ended");
    }
}

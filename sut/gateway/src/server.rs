//! Accepting clients, and the drain when the service stops.
//!
//! Pingora's own `Server` is not used: it retries a taken port for 30 s and then panics, gives each service a runtime of its
//! own, and sleeps its whole grace period on SIGTERM even when nothing is in flight. Its proxy does the work here, driven by
//! an accept loop as pingora documents it for `http_proxy`.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use observastack_kit::{config::ConfigStore, lifecycle::stopped};
use pingora::{
    apps::{HttpServerApp, ServerApp},
    protocols::l4::{listener::Listener, stream::Stream},
    proxy::http_proxy,
    server::configuration::ServerConf,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{config::GatewayConfig, proxy::Gateway};

/// Attempts that pingora itself would make; ours are bounded by `retries.max_attempts`, which is never more.
const PINGORA_ATTEMPTS: usize = 11;
/// Pause after a failed accept, so that running out of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a gateway with `limits.max_connections` looks for one that has gone.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// A request that is already on its way when the stop comes is still served.
const LAST_REQUESTS: Duration = Duration::from_millis(50);

/// Serves clients on `listener` until `stop`, then drains: requests in flight are finished, for `drain_timeout_ms` at most.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    store: ConfigStore<GatewayConfig>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = Listener::from(tokio::net::TcpListener::from_std(listener)?);
    let proxy = Arc::new(http_proxy(&Arc::new(pingora_config(&store)), gateway));
    // Every connection holds a clone of `open`: the channel ends with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let start = |mut stream: Stream| {
        // A client that is gone already has no use for the option either.
        let _ = stream.set_nodelay();
        let (proxy, stop, open) = (Arc::clone(&proxy), stop.clone(), open.clone());
        tokio::spawn(async move {
            proxy.process_new(Box::new(stream), &stop).await;
            drop(open);
        });
    };
    // Each connection has a clone of the proxy.
    let full = || Arc::strong_count(&proxy) > store.current().config.limits.max_connections;
    let mut stopping = stop.clone();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            () = tokio::time::sleep(FULL_PAUSE), if full() => {}
            accepted = listener.accept(), if !full() => match accepted {
                Ok(stream) => start(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // The kernel has accepted these on our behalf.
    while let Ok(Ok(stream)) = timeout(Duration::ZERO, listener.accept()).await {
        start(stream);
    }
    drop(listener);
    drop(open);
    let limit = Duration::from_millis(store.current().config.drain_timeout_ms);
    let drained = timeout(limit, async {
        if timeout(LAST_REQUESTS, all_closed.recv()).await.is_err() {
            // Lets go of connections that wait for their next request.
            proxy.http_cleanup().await;
            all_closed.recv().await;
        }
    });
    if drained.await.is_err() {
        let cut_off = Arc::strong_count(&proxy).saturating_sub(1);
        tracing::warn!(
            cut_off,
            "drain_timeout_ms is over: the connections that are left are cut off"
        );
    }
    Ok(())
}

/// The part of pingora's own settings that its proxy looks at.
fn pingora_config(store: &ConfigStore<GatewayConfig>) -> ServerConf {
    let config = &store.started().config;
    ServerConf {
        threads: config.worker_threads,
        upstream_keepalive_pool_size: config.keepalive.upstream_pool_size,
        max_retries: PINGORA_ATTEMPTS,
        ..ServerConf::default()
    }
}

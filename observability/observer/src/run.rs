//! The composition root: load, attach, listen, tell systemd, drain.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use observastack_loader::observer::{Observer, Probe};
use observastack_telemetry::{
    logs, metrics, notify,
    otlp::{self, Identity, Settings},
    socket,
};
use rustix::thread::CapabilitySet;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

use crate::{
    api,
    args::Args,
    cgroups::Cgroups,
    engine::{self, Engine},
    otlp as sender,
    push::Pusher,
};

/// The service's name.
const SERVICE: &str = "observastack-observer";
/// How long what waits to be sent has at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT. The kernel detaches the probes when the process ends, however it ends.
pub(crate) fn run(args: &Args) -> Result<()> {
    let held = rustix::thread::capabilities(None)
        .context("cannot tell which capabilities there are")?
        .effective;
    if !held.contains(CapabilitySet::BPF | CapabilitySet::PERFMON) {
        bail!(
            "needs CAP_BPF and CAP_PERFMON, to load eBPF programs: systemctl start observastack-observer, or sudo"
        );
    }
    logs::init(SERVICE)?;
    let mut observer = Observer::load(&args.object, &args.cgroup_root, &args.slices)?;
    for probe in Probe::ALL {
        if probe.is_always_on()
            && !args.without.contains(&probe)
            && let Err(error) = observer.switch_on(probe)
        {
            warn!(probe = probe.name(), %error, "a probe stays off");
        }
    }
    let cgroups = Cgroups::new(&args.cgroup_root, &args.slices);
    let (engine, thread) =
        engine::spawn(observer, cgroups).context("cannot start the engine's thread")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(args, engine));
    // Tasks hold handles on the engine: its thread ends with the last of them.
    // Whoever still looks for names is not waited for.
    runtime.shutdown_timeout(DRAIN);
    if thread.join().is_err() {
        bail!("the engine's thread panicked; the kernel has detached the probes");
    }
    served
}

async fn serve(args: &Args, engine: Engine) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = socket::listen(&args.socket).await?;
    let scraped = TcpListener::bind(args.metrics)
        .await
        .with_context(|| format!("--metrics {}: cannot listen there", args.metrics))?;
    let mut registry = metrics::registry(SERVICE, env!("CARGO_PKG_VERSION"));
    let identity = Identity {
        service: SERVICE,
        instance: SERVICE.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
    };
    // Events become log records of the collector's through the journal's own lines.
    let pipeline = otlp::start(&identity, &mut registry)?;
    let exports = sender::register(&mut registry);
    let sending = Settings::from_environment()?
        .map(|settings| tokio::spawn(sender::send(engine.clone(), settings, identity, exports)));
    let pusher = Pusher::from_environment(&mut registry)?;
    let context = api::Context {
        engine: engine.clone(),
        cgroup_root: args.cgroup_root.clone(),
        pusher,
    };
    let api = tokio::spawn(async move { axum::serve(listener, api::router(context)).await });
    let scrapes =
        tokio::spawn(async move { axum::serve(scraped, api::scrapes(engine, registry)).await });
    notify::ready();
    info!(socket = %args.socket.display(), metrics = %args.metrics, "observing");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::stopping();
    api.abort();
    scrapes.abort();
    if let Some(sending) = sending {
        sending.abort();
    }
    // Gone already where the service manager has removed its directory.
    let _ = std::fs::remove_file(&args.socket);
    info!("stopped");
    pipeline.shut_down(DRAIN);
    Ok(())
}

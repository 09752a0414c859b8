//! The composition root: checks, loads, listens, tells systemd, drains.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use observastack_loader::capability;
use observastack_telemetry::{
    logs,
    metrics::{self as telemetry_metrics, Registry},
    notify,
    otlp::{self, Identity},
};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, Semaphore},
};
use tracing::info;

use crate::{
    api,
    args::Args,
    config::Config,
    engine::{self, Engine},
    host::{
        self,
        hands::{self, Hands},
    },
    instance::{self, Instance},
    metrics, report,
};

/// The service's name.
const SERVICE: &str = "observastack-injector";

/// How long log records that wait to be sent have at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// The engine turns at least once a second; this long without a turn and it hangs.
const HANGS_NS: u64 = 10_000_000_000;

/// Runs until SIGTERM or SIGINT. Faults end when it returns, and also when it never does.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    if !rustix::process::geteuid().is_root() {
        bail!(
            "must run as root, to load eBPF programs and attach them to cgroups: systemctl start observastack-injector, or sudo"
        );
    }
    if args.probe {
        let report = report::report(
            &capability::probe(&args.cgroup_root),
            &args.cgroup_root,
            &config.target_slices,
            &args.guard_dir,
            &engine::Refusals::default(),
        );
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    logs::init(SERVICE)?;
    // What is injected and ends is also a collector's to tell, beside what it does.
    let mut registry = telemetry_metrics::registry(SERVICE, env!("CARGO_PKG_VERSION"));
    let identity = Identity {
        service: SERVICE,
        instance: SERVICE.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let pipeline = otlp::start(&identity, &mut registry)?;
    let instance = Instance::claim(&args.socket)?;
    // Nothing that an injector before this one has changed may stay when this one answers.
    let journal = host::journal::Journal::open(&host::journal::directory(&args.state_dir))?;
    let armer = host::timer::Systemd {
        binary: std::env::current_exe()?,
        state_dir: args.state_dir.clone(),
    };
    host::recover(&journal, &armer);
    let (hands, hands_thread) = hands::spawn(hands::Options {
        journal,
        lease: host::lease::path(&args.socket),
        guard: Some(args.guard_dir.clone()),
        armer: Box::new(armer),
    })?;
    let (engine, thread) = engine::spawn(engine::Options {
        object: args.object.clone(),
        cgroup_root: args.cgroup_root.clone(),
        slices: config.target_slices.clone(),
        state_dir: args.state_dir.clone(),
        hands: hands.clone(),
    })
    .context("cannot start the engine's thread")?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(args, config, engine, hands, registry));
    // Tasks hold handles on the engine: its thread ends with the last of them.
    drop(runtime);
    if thread.join().is_err() {
        bail!("the engine's thread panicked; the kernel has let go of every fault");
    }
    // The hands revert everything when the engine's handle, the last one, is gone.
    if hands_thread.join().is_err() {
        bail!("the hands' thread panicked; the guard reverts what is left");
    }
    drop(instance);
    pipeline.shut_down(DRAIN);
    served
}

async fn serve(
    args: &Args,
    config: Config,
    engine: Engine,
    hands: Hands,
    registry: Registry,
) -> anyhow::Result<()> {
    let socket = args.socket.display();
    let listener =
        UnixListener::bind(&args.socket).with_context(|| format!("cannot listen on {socket}"))?;
    let shared = instance::open_to_group(&args.socket, &args.group)
        .with_context(|| format!("cannot open {socket}"))?;
    if !shared {
        info!(
            group = args.group,
            "no such group: only root can use the socket"
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let beat = engine.clone();
    let watchdog = tokio::spawn(notify::watchdog(
        move || beat.beat_age_ns() < HANGS_NS,
        std::future::pending(),
    ));
    let context = api::Context {
        engine,
        hands,
        guard_dir: args.guard_dir.clone(),
        kernel: OnceCell::new(),
        slices: config.target_slices,
        cgroup_root: args.cgroup_root.clone(),
        group: args.group.clone(),
        streams: Arc::new(Semaphore::new(api::STREAMS)),
    };
    let scrapes = match args.metrics.0 {
        Some(address) => {
            let listener = metrics::listen(address).await?;
            Some(tokio::spawn(metrics::serve(
                listener,
                context.engine.clone(),
                registry,
            )))
        }
        None => None,
    };
    info!(socket = %args.socket.display(), "listening");
    notify::ready();
    api::serve(listener, context, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify::stopping();
    })
    .await;
    watchdog.abort();
    if let Some(scrapes) = scrapes {
        scrapes.abort();
    }
    let _ = std::fs::remove_file(&args.socket);
    info!("stopped");
    Ok(())
}

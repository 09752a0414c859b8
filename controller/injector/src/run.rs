//! The composition root: checks, loads, listens, tells systemd, drains.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use observastack_telemetry::{logs, notify};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};
use tracing::info;

use crate::{
    api,
    args::Args,
    config::Config,
    engine::{self, Engine},
    instance::{self, Instance},
    report,
};

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
        let report = report::report(&args.cgroup_root, &engine::Refusals::default());
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    logs::init("observastack-injector")?;
    let instance = Instance::claim(&args.socket)?;
    let (engine, thread) = engine::spawn(engine::Options {
        object: args.object.clone(),
        cgroup_root: args.cgroup_root.clone(),
        slices: config.target_slices.clone(),
        last_id: args.state_dir.join("last-fault-id"),
    })
    .context("cannot start the engine's thread")?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(args, config, engine));
    // Tasks hold handles on the engine: its thread ends with the last of them.
    drop(runtime);
    if thread.join().is_err() {
        bail!("the engine's thread panicked; the kernel has let go of every fault");
    }
    drop(instance);
    served
}

async fn serve(args: &Args, config: Config, engine: Engine) -> anyhow::Result<()> {
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
        slices: config.target_slices,
        cgroup_root: args.cgroup_root.clone(),
        group: args.group.clone(),
        streams: Arc::new(Semaphore::new(api::STREAMS)),
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
    let _ = std::fs::remove_file(&args.socket);
    info!("stopped");
    Ok(())
}

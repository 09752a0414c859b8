//! The composition root: read, open, listen, tell systemd, drain.

use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use observastack_telemetry::{logs, notify};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

use crate::{
    api,
    args::Args,
    engine, library,
    real::{Places, RealLab},
    runner::Runner,
    store::Store,
};

/// The service's name.
const SERVICE: &str = "observastack-controller";

/// Runs until SIGTERM or SIGINT. A drill that goes on is taken up by the next one.
pub(crate) fn run(args: &Args) -> Result<()> {
    logs::init(SERVICE)?;
    let tokens = api::Tokens::read(&args.tokens).context("--tokens")?;
    let (library, wrong) = library::read(&args.scenarios);
    for one in &wrong {
        let (folder, reasons) = (one.folder.display(), one.reasons.join("; "));
        if one.is_used {
            warn!(%folder, reasons, "the order in which drills are learned is another one");
        } else {
            warn!(%folder, reasons, "this is no scenario");
        }
    }
    info!(drills = library.len(), "scenarios");
    fs::create_dir_all(&args.state_dir)
        .with_context(|| format!("--state-dir {}", args.state_dir.display()))?;
    let store = Store::open(&args.state_dir.join("drills.db"))?;
    let rebooted = has_rebooted(args)?;
    let lab = RealLab::new(Places {
        runtime: args.runtime_directory.clone(),
        injector: args.injector.clone(),
        loadgen: args.loadgen.clone(),
        prometheus: args.prometheus,
        gateway: args.gateway,
        database: args.database.clone(),
    });
    let clock = clock();
    let runner = Runner::open(lab, store, library, args.mode.mode(), clock(), rebooted)?;
    let (engine, thread) =
        engine::spawn(runner, clock).context("cannot start the engine's thread")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(args, api::Context { engine, tokens }));
    // Tasks hold handles on the engine: its thread ends with the last of them.
    drop(runtime);
    if thread.join().is_err() {
        bail!("the engine's thread panicked; the next controller takes the drill up");
    }
    served
}

async fn serve(args: &Args, context: api::Context) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("--listen {}: cannot listen there", args.listen))?;
    let served = tokio::spawn(async move { axum::serve(listener, api::router(context)).await });
    notify::ready();
    info!(address = %args.listen, "listening");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::stopping();
    served.abort();
    info!("stopped");
    Ok(())
}

/// Milliseconds since 1970 that only go forward: the machine's clock at the beginning, and what has passed since then.
fn clock() -> impl Fn() -> u64 + Send + Clone + 'static {
    let began = Instant::now();
    let then = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    move || u64::try_from((then + began.elapsed()).as_millis()).unwrap_or(u64::MAX)
}

/// Whether the machine has begun anew since the last controller.
fn has_rebooted(args: &Args) -> Result<bool> {
    let file = args.state_dir.join("boot-id");
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .context("cannot tell whether the machine has begun anew")?;
    let before = fs::read_to_string(&file).ok();
    fs::write(&file, &now).with_context(|| file.display().to_string())?;
    Ok(before.is_some_and(|before| before != now))
}

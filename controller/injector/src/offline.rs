//! The subcommands that do without the service: guarding, reverting as root, burning CPU.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use observastack_loader::clock::monotonic_ns;
use observastack_telemetry::{logs, notify};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    args::{Args, Guard, Revert, Stress},
    host::{
        self,
        journal::{Journal, JournalError},
        timer::{Armer, Systemd},
    },
    instance,
};

/// A guard that has not looked at the journal for this long hangs.
const HANGS_NS: u64 = 5_000_000_000;
/// How long an injector may take to clear everything before it counts as hanging.
const ANSWER: Duration = Duration::from_secs(1);
/// How long `revert` waits for others who work on the journal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches over the journal until SIGTERM or SIGINT.
pub(crate) fn guard(args: &Args, _: &Guard) -> anyhow::Result<()> {
    logs::init("observastack-guard")?;
    let guard = host::guard::Guard::claim(host::guard::Options {
        journal: host::journal::directory(&args.state_dir),
        lease: host::lease::path(&args.socket),
        directory: args.guard_dir.clone(),
        injector_lock: Some(instance::lock_path(&args.socket)),
        armer: Box::new(Systemd {
            binary: std::env::current_exe()?,
            state_dir: args.state_dir.clone(),
        }),
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let beat_ns = Arc::new(AtomicU64::new(monotonic_ns()));
    let thread = thread::Builder::new().name("guard".to_owned()).spawn({
        let (stop, beat_ns) = (Arc::clone(&stop), Arc::clone(&beat_ns));
        move || guard.run(&stop, &beat_ns)
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        notify::ready();
        info!("watching");
        let told = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let lives =
            move || monotonic_ns().saturating_sub(beat_ns.load(Ordering::Acquire)) < HANGS_NS;
        notify::watchdog(lives, told).await;
        notify::stopping();
        Ok::<_, std::io::Error>(())
    })?;
    stop.store(true, Ordering::Release);
    if thread.join().is_err() {
        bail!("the guard's thread panicked");
    }
    Ok(())
}

/// Reverts one fault or all of them, and says what it did.
pub(crate) fn revert(args: &Args, revert: &Revert) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("must run as root, to undo changes to the host: sudo observastack-injector revert");
    }
    if revert.if_lapsed && !host::lease::is_lapsed(&host::lease::path(&args.socket)) {
        println!("an injector is alive and sees to it: nothing done");
        return Ok(());
    }
    let lock = instance::lock_path(&args.socket);
    if revert.panic {
        let by_uid = std::env::var("SUDO_UID")
            .ok()
            .and_then(|uid| uid.parse().ok())
            .unwrap_or(0);
        // First of all: an injector that is started from now on refuses.
        host::panic::write(&args.state_dir, by_uid).with_context(|| {
            format!(
                "cannot write {}",
                host::panic::path(&args.state_dir).display()
            )
        })?;
        println!("new faults are refused until the panic is lifted");
        end_kernel_faults(&args.socket, &lock)?;
    }
    let journal =
        Journal::open(&host::journal::directory(&args.state_dir))?.with_patience(PATIENCE);
    let armer = Systemd {
        binary: std::env::current_exe()?,
        state_dir: args.state_dir.clone(),
    };
    let ids = match revert.id {
        Some(id) => vec![id],
        None => journal
            .entries()?
            .iter()
            .rev()
            .map(|entry| entry.id)
            .collect(),
    };
    if ids.is_empty() {
        println!("no change is journalled");
    }
    let mut failures = 0;
    for id in ids {
        let mut result = journal.revert(id);
        if revert.panic && matches!(result, Err(JournalError::Busy { .. })) {
            instance::kill_holder(&lock)?;
            result = journal.revert(id);
        }
        match result {
            Ok(()) => {
                println!("fault {id}: every change of it is undone");
                armer.disarm(id);
            }
            Err(error) => {
                eprintln!("fault {id}: {error}");
                failures += 1;
            }
        }
    }
    if failures > 0 {
        bail!(
            "{failures} faults could not be reverted whole; the guard tries again, and so can you"
        );
    }
    Ok(())
}

/// Has the injector clear everything; one that is alive but does not answer is killed, and the kernel lets go with it.
fn end_kernel_faults(socket: &Path, lock: &Path) -> anyhow::Result<()> {
    match clear_all(socket) {
        Ok(true) => println!("the injector has cleared every fault"),
        answer => {
            let why = match answer {
                Ok(_) => "refused".to_owned(),
                Err(error) => error.to_string(),
            };
            match instance::kill_holder(lock).context("cannot kill the injector")? {
                Some(pid) => println!(
                    "the injector (pid {pid}) hangs ({why}) and was killed; the kernel has let go of every fault"
                ),
                None => println!("no injector is alive: the kernel holds no fault"),
            }
        }
    }
    Ok(())
}

/// Asks the injector to clear everything. False where it answers, but does not.
fn clear_all(socket: &Path) -> std::io::Result<bool> {
    let end = Instant::now() + ANSWER;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(b"DELETE /faults HTTP/1.1\r\nHost: injector\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    while !head.contains(&b'\n') {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(false);
        }
        head.extend(&buffer[..length]);
    }
    Ok(head.starts_with(b"HTTP/1.1 200"))
}

/// Burns CPU for a fault.
pub(crate) fn stress(stress: &Stress) -> anyhow::Result<()> {
    Ok(host::stress::run(
        stress.cgroup.as_deref(),
        stress.percent,
        stress.end_ns,
    )?)
}

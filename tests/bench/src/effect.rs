//! How soon a fault acts, and how soon it is gone.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use observastack_spec::{Fault, fault::FaultRequest, faults::ConnectError};

use crate::{
    injector,
    probe::{self, Running},
    stats::{Samples, now_ns},
};

/// The port that is broken and mended.
pub(crate) const PORT: u16 = 9;
const INJECTOR: &str = "observastack-injector.service";

/// How soon a fault acts after it was asked for, stops after it was cleared, and ends after `kill -9` and SIGSTOP.
#[derive(Debug, Args)]
pub(crate) struct Effect {
    /// Faults injected and cleared.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Injectors killed, and stopped.
    #[arg(long, default_value_t = 20)]
    kills: u32,
}

impl Default for Effect {
    fn default() -> Self {
        Self {
            rounds: 100,
            kills: 20,
        }
    }
}

impl Effect {
    pub(crate) fn run(&self) -> Result<()> {
        let mut probe = Running::start(PORT)?;
        let mut ours = (Samples::default(), Samples::default());
        let mut netfilter = (Samples::default(), Samples::default());
        for _ in 0..self.rounds {
            inject_and_clear(&mut probe, &mut ours)?;
            add_and_delete_rule(&mut probe, &mut netfilter)?;
        }
        println!("| effect of | n | median ms | p99 ms | largest ms |\n|---|---|---|---|---|");
        println!(
            "{}",
            ours.0.row_ms("inject, request to first faulted connect")
        );
        println!(
            "{}",
            netfilter
                .0
                .row_ms("reference: nft adds a drop rule, start to first refused send")
        );
        println!("{}", ours.1.row_ms("clear, request to first good connect"));
        println!(
            "{}",
            netfilter
                .1
                .row_ms("reference: nft deletes its table, start to first good send")
        );

        let mut killed = Samples::default();
        let mut stopped = Samples::default();
        for _ in 0..self.kills {
            killed.push(fault_gone_after(&mut probe, "KILL")?);
            stopped.push(fault_gone_after(&mut probe, "STOP")?);
        }
        println!(
            "{}",
            killed.row_ms("kill -9 of the injector to first good connect")
        );
        println!(
            "{}",
            stopped.row_ms("SIGSTOP of the injector (lease) to first good connect")
        );
        Ok(())
    }
}

fn request() -> Result<FaultRequest> {
    let fault = Fault::ConnectError(ConnectError {
        port: Some(PORT),
        ..ConnectError::new("EHOSTUNREACH".parse()?)
    });
    Ok(FaultRequest {
        seed: Some(1),
        ..FaultRequest::new(probe::UNIT, fault, Duration::from_secs(60))
    })
}

fn inject_and_clear(probe: &mut Running, samples: &mut (Samples, Samples)) -> Result<()> {
    let asked_ns = now_ns();
    let fault = injector::inject(&request()?)?;
    samples
        .0
        .push(probe.wait_for(true)?.at_ns.saturating_sub(asked_ns));
    let asked_ns = now_ns();
    injector::clear(fault.id)?;
    samples
        .1
        .push(probe.wait_for(false)?.at_ns.saturating_sub(asked_ns));
    Ok(())
}

/// The reference: what the usual tool takes to break and mend the same port.
pub(crate) fn add_and_delete_rule(
    probe: &mut Running,
    samples: &mut (Samples, Samples),
) -> Result<()> {
    let add = format!(
        "table inet observastack_bench {{ chain out {{ type filter hook output priority 0; udp dport {PORT} drop\n }}\n}}\n"
    );
    let asked_ns = now_ns();
    nft(&add)?;
    samples
        .0
        .push(probe.wait_for(true)?.at_ns.saturating_sub(asked_ns));
    let asked_ns = now_ns();
    nft("delete table inet observastack_bench\n")?;
    samples
        .1
        .push(probe.wait_for(false)?.at_ns.saturating_sub(asked_ns));
    Ok(())
}

fn nft(script: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run nft")?;
    nft.stdin
        .take()
        .context("nft has no input")?
        .write_all(script.as_bytes())?;
    if !nft.wait()?.success() {
        bail!("nft refused: {script}");
    }
    Ok(())
}

/// Injects, sends the injector a signal, and measures until the fault is gone; gives systemd the injector back after it.
fn fault_gone_after(probe: &mut Running, signal: &str) -> Result<u64> {
    injector::inject(&request()?)?;
    probe.wait_for(true)?;
    let pid = main_pid()?;
    let sent_ns = now_ns();
    run("kill", &[&format!("-{signal}"), &pid])?;
    let gone_ns = probe.wait_for(false)?.at_ns.saturating_sub(sent_ns);
    if signal == "STOP" {
        run("kill", &["-KILL", &pid])?;
    }
    // Or systemd would give up on a unit that ends so often.
    run("systemctl", &["reset-failed", INJECTOR])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    // READY means that it listens; a pid of its own means that it is not the one that was killed.
    while main_pid()? == pid || run("systemctl", &["is-active", "--quiet", INJECTOR]).is_err() {
        if Instant::now() > deadline {
            bail!("the injector did not come back within 30 s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(gone_ns)
}

fn main_pid() -> Result<String> {
    let shown = Command::new("systemctl")
        .args(["show", "--property=MainPID", "--value", INJECTOR])
        .output()?;
    Ok(String::from_utf8_lossy(&shown.stdout).trim().to_owned())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{program} {} failed: {status}", arguments.join(" "))
    }
}

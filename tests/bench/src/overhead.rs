//! What the attached programs cost per packet: round trips of small datagrams on loopback, both ends in the unit.

use std::{
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use observastack_spec::{Fault, fault::FaultRequest, faults::PacketLoss};

use crate::{
    injector,
    stats::{Samples, now_ns},
};

const UNIT: &str = "observastack-bench-exchange.service";

/// What the attached programs cost per packet.
#[derive(Debug, Args)]
pub(crate) struct Overhead {
    /// Turns of each variant.
    #[arg(long, default_value_t = 15)]
    turns: u32,
}

impl Default for Overhead {
    fn default() -> Self {
        Self { turns: 15 }
    }
}

/// The packet exchange in the unit under test.
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// Round trips each time.
    #[arg(long, default_value_t = 20_000)]
    round_trips: u32,
}

impl Exchange {
    /// For each line of input, exchanges and prints the mean time of a round trip in nanoseconds.
    pub(crate) fn run(self) -> Result<()> {
        let (here, there) = (
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        );
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        for socket in [&here, &there] {
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        }
        let mut buffer = [0; 64];
        let mut out = std::io::stdout().lock();
        for line in std::io::stdin().lock().lines() {
            line?;
            let started_ns = now_ns();
            // One thread on both ends: no scheduler in what is measured.
            for _ in 0..self.round_trips {
                here.send(b"ping")?;
                there.recv(&mut buffer)?;
                there.send(b"pong")?;
                here.recv(&mut buffer)?;
            }
            writeln!(
                out,
                "{}",
                (now_ns() - started_ns) / u64::from(self.round_trips)
            )?;
            out.flush()?;
        }
        Ok(())
    }
}

impl Overhead {
    pub(crate) fn run(&self) -> Result<()> {
        let mut peer = Peer::start()?;
        let mut plain = Samples::default();
        let mut other_unit = Samples::default();
        let mut matched = Samples::default();
        let mut other_port = Samples::default();
        for _ in 0..self.turns {
            // A new injector has attached nothing.
            restart_injector()?;
            plain.push(peer.exchange()?);
            other_unit.push(under("observastack-gateway.service", None, &mut peer)?);
            matched.push(under(UNIT, None, &mut peer)?);
            other_port.push(under(UNIT, Some(9), &mut peer)?);
        }
        println!(
            "\n| packet-loss at 0 %, two packets a round trip | median ns a round trip | beyond nothing attached, a packet |"
        );
        println!("|---|---|---|");
        let base = plain.quantile_ns(0.5);
        for (name, samples) in [
            ("reference: nothing attached", &plain),
            ("attached, the rule is another unit's", &other_unit),
            (
                "attached, every packet matched, counted and decided",
                &matched,
            ),
            ("attached, the rule's port is another", &other_port),
        ] {
            let median = samples.quantile_ns(0.5);
            let beyond = median as f64 / 2.0 - base as f64 / 2.0;
            println!("| {name} | {median} | {beyond:.0} ns |");
        }
        Ok(())
    }
}

/// Exchanges while a rule that never drops is there.
fn under(unit: &str, port: Option<u16>, peer: &mut Peer) -> Result<u64> {
    let loss = Fault::PacketLoss(PacketLoss {
        port,
        ..PacketLoss::default()
    });
    let fault = injector::inject(&FaultRequest {
        probability: 0.0,
        seed: Some(1),
        ..FaultRequest::new(unit, loss, Duration::from_secs(60))
    })?;
    let measured = peer.exchange();
    injector::clear(fault.id)?;
    measured
}

fn restart_injector() -> Result<()> {
    let restarted = Command::new("systemctl")
        .args(["restart", "observastack-injector.service"])
        .status()?;
    if restarted.success() {
        Ok(())
    } else {
        bail!("the injector did not restart")
    }
}

/// The exchange's process in a unit of its own in the target slice. Ends with its input.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Result<Self> {
        let mut child = Command::new("systemd-run")
            .args([
                "--quiet",
                "--pipe",
                "--wait",
                "--collect",
                "--slice=observastack-sut.slice",
            ])
            .arg(format!("--unit={UNIT}"))
            .arg(std::env::current_exe()?)
            .arg("exchange")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the exchange with systemd-run")?;
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("the exchange has no output")?);
        let mut peer = Self {
            child,
            input,
            lines,
        };
        // The first exchange warms up, and shows that the unit runs.
        peer.exchange()?;
        Ok(peer)
    }

    fn exchange(&mut self) -> Result<u64> {
        writeln!(
            self.input.as_mut().context("the exchange has no input")?,
            "go"
        )?;
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            bail!("the exchange has ended");
        }
        Ok(line.trim().parse()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

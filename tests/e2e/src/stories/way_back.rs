//! No fault takes away the way back: with all of them on every unit at once, the injector, ssh and the controller answer.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::controller::API;
use crate::{
    command, figures, http,
    lab::{self, INJECTOR, INJECTOR_SOCKET, SUT_UNITS},
    machine::Machine,
    story::test,
    systemd,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![test(
        "way_back::with_every_fault_on_every_unit_the_injector_ssh_and_the_controller_answer",
        all_at_once,
    )]
}

/// Every kind with arguments as wide as they go: no filter of port or peer. `unit` comes last, for it ends processes.
const FAULTS: [(&str, &[&str]); 11] = [
    ("packet-loss", &["--probability", "50%"]),
    ("blackhole", &[]),
    ("mtu-blackhole", &["--mtu", "68"]),
    ("connect-error", &["--errno", "ECONNREFUSED"]),
    ("bind-error", &["--errno", "EADDRINUSE"]),
    ("slow-receiver", &["--window", "0"]),
    (
        "signal",
        &["--signal", "TERM", "--call", "read", "--max", "1000"],
    ),
    ("reset", &["--interval", "100ms"]),
    ("cpu-stress", &["--workers", "4"]),
    ("freeze", &["--period", "200ms"]),
    ("unit", &["--action", "restart", "--interval", "5s"]),
];

/// Faults that only some machines can have.
const SOME: [(&str, &[&str]); 6] = [
    ("latency", &["--delay", "1s"]),
    ("bandwidth", &["--rate", "8kbit"]),
    (
        "syscall-error",
        &["--calls", "read,write,open", "--errno", "EIO"],
    ),
    ("fd-limit", &["--limit", "3"]),
    ("cpu-quota", &["--quota", "5%"]),
    ("tasks-limit", &["--limit", "1"]),
];

/// The banner of whoever listens on a port.
fn banner(port: u16) -> Result<String> {
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Between two looks: sshd shuts out for a while who knocks fifteen times in as many seconds and never logs in.
const PAUSE: Duration = Duration::from_secs(3);
const LOOKS: u32 = 4;

/// All three ways, each in reasonable time.
fn ways_are_open() -> Result<Duration> {
    let begun = Instant::now();
    UnixStream::connect(INJECTOR_SOCKET)?;
    let asked = lab::ctl_ran(&["faults"])?;
    asked.expect(0)?;
    let ssh = banner(22).context("ssh")?;
    ensure!(ssh.starts_with("SSH-2.0"), "port 22 says {ssh:?}");
    let controller = http::curl(&[&format!("{API}/api/openapi.json")]).context("the controller")?;
    controller.expect(200)?;
    Ok(begun.elapsed())
}

fn all_at_once() -> Result<()> {
    // Nothing attached for a fault that is over.
    systemd::restart(INJECTOR)?;
    let before = Machine::now()?;
    let free = ways_are_open()?;
    let mut injected = 0;
    for (kind, arguments) in SOME.iter().chain(&FAULTS) {
        let works = lab::support(kind)?.0 == "yes";
        ensure!(
            works || SOME.iter().any(|(some, _)| some == kind),
            "{kind} does not work here: {:?}",
            lab::support(kind)?
        );
        if !works {
            continue;
        }
        for unit in SUT_UNITS {
            let words = ["inject", kind, "--unit", unit, "--for", "10m"];
            lab::ctl_ran(&[&words[..], arguments].concat())?.expect(0)?;
            injected += 1;
        }
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..LOOKS {
        thread::sleep(PAUSE);
        slowest = slowest.max(ways_are_open()?);
    }
    // Not only a banner: a whole exchange of keys.
    let keys = command::run(&["ssh-keyscan", "-t", "ed25519", "-T", "15", "127.0.0.1"])?;
    ensure!(
        keys.code == 0 && keys.stdout.contains("ssh-ed25519"),
        "ssh-keyscan: {}",
        keys.stderr
    );
    figures::note(format!(
        "under {injected} faults the ways back answered within {slowest:?}, without within {free:?}"
    ));
    ensure!(
        slowest < Duration::from_secs(15),
        "a round of the ways back took {slowest:?}"
    );
    let asked = Instant::now();
    let cleared = lab::ctl(&["clear", "--all"])?;
    figures::note(format!("clear --all took {:?}", asked.elapsed()));
    ensure!(
        cleared["faults"].as_array().map(Vec::len) == Some(injected),
        "{injected} were injected: {cleared}"
    );
    // The shop comes back by itself, but for units that systemd has given up to start again.
    let _ = command::run(&[&["systemctl", "reset-failed"], &SUT_UNITS[..]].concat());
    command::output(&[&["systemctl", "start"], &SUT_UNITS[..]].concat())?;
    lab::wait_healthy()?;
    before.comes_back()
}

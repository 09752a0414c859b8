//! A process that holds faults and does nothing else, for tests of what happens when it dies.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use observastack_loader::{
    FaultKind, Rule,
    abi::{
        jitter,
        syscall_error::{SyscallErrorRule, call},
    },
};

use crate::{
    agent::THIS_PROGRAM,
    rules::{Plan, SIGTERM, SYS_GETPPID, after, errno},
    scene::{Scene, load},
};

/// The argument that makes this program a holder.
pub(crate) const VERB: &str = "holder";

/// How late [`Held::Root`] makes packets.
pub(crate) const DELAY: Duration = Duration::from_millis(400);

/// A fault for each kind of hook, with the plainest rule that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// `packet-loss` of what arrives, at a slice's ingress.
    Slice,
    /// `connect-error`, at a slice's calls that name an address.
    Address,
    /// `packet-loss` of what leaves, at the interfaces.
    Interface,
    /// `latency` of what arrives, at the root's egress.
    Root,
    /// `syscall-error` of `mkdir`, at a hook of the security modules.
    Security,
    /// `signal` at `getppid`, at a raw tracepoint.
    Tracepoint,
}

impl Held {
    const ALL: [Self; 6] = [
        Self::Slice,
        Self::Address,
        Self::Interface,
        Self::Root,
        Self::Security,
        Self::Tracepoint,
    ];

    /// The rule that a plan becomes.
    pub(crate) fn rule(self, plan: Plan) -> Rule {
        match self {
            Self::Slice => plan.loss(),
            Self::Address => plan.error(errno::ECONNREFUSED),
            Self::Interface => plan.outward().loss(),
            Self::Root => plan.latency(DELAY, Duration::ZERO, jitter::UNIFORM),
            Self::Security => plan.syscall(
                errno::EIO,
                SyscallErrorRule {
                    calls: call::MKDIR,
                    ..SyscallErrorRule::default()
                },
            ),
            Self::Tracepoint => plan.signal(SYS_GETPPID, SIGTERM),
        }
    }

    /// The fault.
    pub(crate) fn kind(self) -> FaultKind {
        self.rule(Plan::always()).kind()
    }
}

/// Arms faults for a unit, says `ok`, and waits for the end of standard input.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    match hold(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold(arguments: &[&str]) -> Result<()> {
    let [object, cgroup_root, slice, unit, lease_ms, names @ ..] = arguments else {
        bail!("a holder doesn't understand {arguments:?}");
    };
    let mut loader = load(Path::new(object), Path::new(cgroup_root), slice)?;
    loader.set_lease(after(Duration::from_millis(lease_ms.parse()?)))?;
    for (name, id) in names.iter().zip(1..) {
        let held = Held::ALL
            .into_iter()
            .find(|held| format!("{held:?}") == *name)
            .with_context(|| format!("a holder doesn't know `{name}`"))?;
        loader.arm(unit, &held.rule(Plan::always().id(id)))?;
    }
    println!("ok");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// A process that holds faults, from the test's side; dropping it kills it.
pub(crate) struct Holder(Child);

impl Holder {
    /// Starts it, with a lease of its own that nobody renews, and waits until it holds the faults.
    pub(crate) fn start(
        scene: &mut Scene,
        unit: &str,
        faults: &[Held],
        lease: Duration,
    ) -> Result<Self> {
        if faults.contains(&Held::Interface) {
            scene.prepare_interface()?;
        }
        let mut child = Command::new(THIS_PROGRAM)
            .arg(VERB)
            .args([&scene.lab.object, &scene.lab.cgroup_root])
            .args([scene.slice_name(), unit])
            .arg(lease.as_millis().to_string())
            .args(faults.iter().map(|held| format!("{held:?}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a holder")?;
        let output = child.stdout.take().context("a holder without output")?;
        let holder = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim_end() == "ok", "the holder says: {line}");
        Ok(holder)
    }

    /// Kills it with a signal that it cannot see,
    /// without waiting for its end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Commands with a limit: of time, and of what is kept of their output.
//!
//! Each has a session and a terminal of its own (`setsid(1)` with `--ctty`), which nobody reads. Whatever user it has become by sudo, it is hung up when the
//! terminal goes (tty_hangup(9)), which no signal of ours could do.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    process::Stdio,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// Bytes that are kept of what a command prints on each of its two outputs.
const MOST: usize = 48 << 10;
/// How long a command that was hung up may take to end.
const ENDS: Duration = Duration::from_secs(3);

/// Something that was printed: the first [`MOST`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    kept: Vec<u8>,
    left_out: u64,
}

impl Printed {
    /// It as text, with how much is not in it.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        match self.left_out {
            0 => text.into_owned(),
            more => format!("{text}\n[{more} more bytes: ask for less]"),
        }
    }

    async fn read(&mut self, from: Option<&mut (impl AsyncRead + Unpin)>) -> io::Result<()> {
        let Some(from) = from else {
            return Ok(());
        };
        let mut piece = vec![0; 8 << 10];
        loop {
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            let room = (MOST - self.kept.len()).min(read);
            self.kept.extend_from_slice(&piece[..room]);
            self.left_out += (read - room) as u64;
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this exit code; none where a signal ended it.
    Itself(Option<i32>),
    /// Its time was up, and everything that it had begun has ended.
    Late,
    /// Its time was up, and something that it has begun goes on.
    LateAndGoesOn,
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    /// How.
    pub(super) end: End,
    /// What it said.
    pub(super) stdout: Printed,
    /// What it complained about.
    pub(super) stderr: Printed,
}

/// A command's session: it ends with everything in it, whatever becomes of whoever waits for it.
struct Session {
    leader: Option<Pid>,
    terminal: Option<OwnedFd>,
}

impl Session {
    /// Takes its terminal away.
    fn hang_up(&mut self) {
        self.terminal = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hang_up();
        if let Some(leader) = self.leader {
            // Nobody is left where it has ended; others' processes have been hung up.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs a command until it ends or its time is up; then it is ended with everything that it has begun.
pub(super) async fn run(
    words: &[&str],
    environment: &[(&'static str, String)],
    limit: Duration,
) -> io::Result<Ran> {
    let (terminal, other_end) = terminal()?;
    let mut child = Command::new("setsid")
        .args(["--ctty", "sh", "-c", "exec \"$@\" </dev/null", "sh"])
        .args(words)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(other_end))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut session = Session {
        leader: child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
        terminal: Some(terminal),
    };
    let mut outputs = Outputs::of(&mut child);
    let end = match tokio::time::timeout(limit, outputs.read()).await {
        Ok(read) => {
            read?;
            End::Itself(child.wait().await?.code())
        }
        Err(_) => {
            session.hang_up();
            match tokio::time::timeout(ENDS, outputs.read()).await {
                Ok(_) => End::Late,
                Err(_) => End::LateAndGoesOn,
            }
        }
    };
    Ok(Ran {
        end,
        stdout: outputs.said,
        stderr: outputs.complained,
    })
}

/// A terminal that nobody sits at: our end, and a command's.
fn terminal() -> io::Result<(OwnedFd, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let path = std::ffi::OsStr::from_bytes(name.to_bytes());
    // It is nobody's controlling terminal by being opened: this program may be a session's leader.
    let other_end = rustix::fs::open(
        path,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    Ok((ours, File::from(other_end)))
}

/// A command's outputs, and what was read of them.
struct Outputs {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    said: Printed,
    complained: Printed,
}

impl Outputs {
    fn of(child: &mut Child) -> Self {
        Self {
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            said: Printed::default(),
            complained: Printed::default(),
        }
    }

    /// Until nobody has them open any more. What was read is kept where nobody waits for the rest.
    async fn read(&mut self) -> io::Result<()> {
        let said = self.said.read(self.stdout.as_mut());
        let complained = self.complained.read(self.stderr.as_mut());
        tokio::try_join!(said, complained).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(line: &str, limit: Duration) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let environment = [("WORD", "word".to_owned())];
        runtime
            .block_on(run(&["sh", "-c", line], &environment, limit))
            .unwrap()
    }

    #[test]
    fn a_command_is_told_with_its_code_and_both_outputs() {
        let ran = ran(
            "echo $WORD; cat; echo no >&2; exit 3",
            Duration::from_secs(60),
        );
        assert_eq!(ran.end, End::Itself(Some(3)));
        assert_eq!(
            (ran.stdout.text(), ran.stderr.text()),
            ("word\n".to_owned(), "no\n".to_owned())
        );
    }

    #[test]
    fn what_is_too_long_is_told_as_such_and_the_command_goes_on() {
        let ran = ran(
            "head -c 100000 /dev/zero | tr '\\0' x; echo done >&2",
            Duration::from_secs(60),
        );
        let text = ran.stdout.text();
        assert!(
            text.ends_with("x\n[50848 more bytes: ask for less]"),
            "{}",
            &text[text.len() - 60..]
        );
        assert_eq!(ran.stderr.text(), "done\n");
    }

    #[test]
    fn when_its_time_is_up_it_ends_with_all_that_it_has_begun_and_what_it_said_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let line = format!("echo began; sleep 600 & echo $! > {}; wait", pid.display());
        let ran = ran(&line, Duration::from_millis(500));
        assert_eq!(ran.end, End::Late);
        assert_eq!(ran.stdout.text(), "began\n");
        let pid = std::fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // It may be a zombie until whoever has it now has looked.
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < end, "{stat} is there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_does_not_end_when_it_is_hung_up_is_told_to_go_on() {
        let ran = ran(
            "trap '' HUP; setsid sleep 5 & wait",
            Duration::from_millis(300),
        );
        assert_eq!(ran.end, End::LateAndGoesOn);
    }
}

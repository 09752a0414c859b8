//! Commands with a limit: of time, and of what is kept of their output.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

/// Bytes that are kept of what a command prints on each of its two outputs.
const MOST: usize = 48 << 10;

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

    async fn read(&mut self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
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

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    /// Its exit code; nothing where its time was up, or a signal ended it.
    pub(super) code: Option<i32>,
    /// Whether its time was up.
    pub(super) is_late: bool,
    /// What it said.
    pub(super) stdout: Printed,
    /// What it complained about.
    pub(super) stderr: Printed,
}

/// Ends everything that a command has begun, whatever becomes of whoever waits for it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left where it has ended.
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
    let (program, rest) = words
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let mut child = Command::new(program)
        .args(rest)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let group = Group(leader);
    let (mut stdout, mut stderr) = (Printed::default(), Printed::default());
    let ended = tokio::time::timeout(limit, watch(&mut child, &mut stdout, &mut stderr)).await;
    // What it has left in the background would keep the outputs, and the lab would not be as it was.
    drop(group);
    let (code, is_late) = match ended {
        Ok(status) => (status?.code(), false),
        Err(_) => (None, true),
    };
    Ok(Ran {
        code,
        is_late,
        stdout,
        stderr,
    })
}

async fn watch(
    child: &mut Child,
    stdout: &mut Printed,
    stderr: &mut Printed,
) -> io::Result<ExitStatus> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let out = async {
            match out {
                Some(out) => stdout.read(out).await,
                None => Ok(()),
            }
        };
        let err = async {
            match err {
                Some(err) => stderr.read(err).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(out, err).map(drop)
    };
    read.await?;
    child.wait().await
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
        let ran = ran("echo $WORD; echo no >&2; exit 3", Duration::from_secs(60));
        assert_eq!((ran.code, ran.is_late), (Some(3), false));
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
    fn when_its_time_is_up_it_ends_with_all_that_it_has_begun() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let line = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let ran = ran(&line, Duration::from_millis(500));
        assert_eq!((ran.code, ran.is_late), (None, true));
        let pid = std::fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // It may be a zombie until whoever has it now has looked.
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < end, "{stat} is there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

//! Commands with a limit: of time, and of what is kept of their output.
//!
//! Each has a session of its own, by which everything is found that it has begun. What has become another user by sudo cannot be ended by a signal of ours,
//! and sudo passes none on from a terminal that goes; it is ended the way it came, by `sudo -u`.

use std::{
    collections::BTreeMap, fs, io, os::unix::fs::MetadataExt as _, process::Stdio, time::Duration,
};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// Bytes that are kept of what a command prints on each of its two outputs.
const MOST: usize = 48 << 10;
/// How long a command that was killed may take to end.
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
struct Session(Option<i32>);

impl Session {
    /// Kills every process of the session, and those that they have begun in sessions of their own, as sudo does.
    fn end(&self) {
        let Some(leader) = self.0 else {
            return;
        };
        let mut others: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (pid, uid) in members(leader, &processes()) {
            if uid == getuid().as_raw() {
                // It may have ended meanwhile.
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            } else if uid != 0 {
                others.entry(uid).or_default().push(pid.to_string());
            }
        }
        for (uid, pids) in others {
            // sudo ends with what it has begun. Whoever may not do this has not begun it in this way, either.
            let _ = std::process::Command::new("sudo")
                .args(["-n", "-u", &format!("#{uid}"), "kill", "-KILL"])
                .args(pids)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process, as proc_pid_stat(5) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    uid: u32,
}

/// All that there are.
fn processes() -> Vec<Process> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    folders
        .filter_map(|folder| {
            let pid = folder.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(folder.path().join("stat")).ok()?;
            let (parent, session) = parent_and_session(&stat)?;
            let uid = folder.metadata().ok()?.uid();
            Some(Process {
                pid,
                parent,
                session,
                uid,
            })
        })
        .collect()
}

/// The name before them is in parentheses, and may have any in it.
fn parent_and_session(stat: &str) -> Option<(i32, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some((parent, session))
}

/// A session's processes and all that come from them, with their users.
fn members(leader: i32, all: &[Process]) -> Vec<(i32, u32)> {
    let mut found: Vec<&Process> = all.iter().filter(|one| one.session == leader).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|one| one.pid) {
        let children = all.iter().filter(|one| one.parent == parent);
        let new: Vec<&Process> = children
            .filter(|one| found.iter().all(|known| known.pid != one.pid))
            .collect();
        found.extend(new);
        next += 1;
    }
    found.iter().map(|one| (one.pid, one.uid)).collect()
}

/// Runs a command until it ends or its time is up; then it is ended with everything that it has begun.
pub(super) async fn run(
    words: &[&str],
    environment: &[(&'static str, String)],
    limit: Duration,
) -> io::Result<Ran> {
    let mut child = Command::new("setsid")
        .args(words)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // It leads no group yet, so setsid(1) does not fork: its process is the session's leader.
    let session = Session(child.id().map(u32::cast_signed));
    let mut outputs = Outputs::of(&mut child);
    let end = match tokio::time::timeout(limit, outputs.read()).await {
        Ok(read) => {
            read?;
            End::Itself(child.wait().await?.code())
        }
        Err(_) => {
            session.end();
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
    fn what_has_a_session_of_its_own_is_found_by_who_has_begun_it() {
        let process = |pid, parent, session, uid| Process {
            pid,
            parent,
            session,
            uid,
        };
        let all = [
            process(10, 1, 10, 7),
            process(11, 10, 10, 0),
            process(12, 11, 12, 0),
            process(13, 12, 12, 8),
            process(14, 1, 14, 8),
        ];
        assert_eq!(members(10, &all), [(10, 7), (11, 0), (12, 0), (13, 8)]);
        // The leader has ended, and others of its session have not.
        assert_eq!(members(10, &all[1..]), [(11, 0), (12, 0), (13, 8)]);
        let stat = "11 (a) b) S 10 12 13 34817 12 4194304";
        assert_eq!(parent_and_session(stat), Some((10, 13)));
    }
}

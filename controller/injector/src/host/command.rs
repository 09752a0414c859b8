//! External programs: found by absolute path, with a time limit, their complaint in the error.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Where programs are looked for, in this order; `$PATH` is not trusted.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How long a program may take where nothing else is said.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(2);
/// The bit of `CAP_SYS_ADMIN` in a capability set.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not installed.
    #[error("`{program}` is not installed (looked in {}); install the package `{package}`", DIRECTORIES.join(", "))]
    Missing {
        /// The program's name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// It could not be started, or its output not be read.
    #[error("cannot run `{command}`: {source}")]
    Io {
        /// The command line.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said, trimmed.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("`{command}` did not end within {} s and was killed", limit.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// The limit.
        limit: Duration,
    },
}

impl CommandError {
    /// Whether the program failed and said this.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        matches!(self, Self::Failed { stderr, .. } if words.iter().any(|word| stderr.contains(word)))
    }
}

/// Runs a program and gives its standard output.
pub(crate) fn run(program: &'static str, args: &[&str]) -> Result<String, CommandError> {
    run_within(program, args, LIMIT)
}

/// Runs a program that needs `CAP_SYS_ADMIN`: where this process lacks it, systemd runs the program in a unit of its own.
///
/// So the injector and the guard hold that capability in no form that a slip of theirs could use.
pub(crate) fn run_as_admin(program: &'static str, args: &[&str]) -> Result<String, CommandError> {
    if has_sys_admin() {
        return run(program, args);
    }
    let path = find(program)?;
    let path = path.to_string_lossy();
    let mut all = vec![
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "--slice=observastack-control.slice",
        // Else the command, which is in everybody's journal then: it may be what somebody has to find.
        "--description=A step of ObservaStack's injector",
        "--property=TimeoutStartSec=10",
        "--",
        &path,
    ];
    all.extend(args);
    run("systemd-run", &all)
}

/// Runs a program with a time limit of its own.
pub(crate) fn run_within(
    program: &'static str,
    args: &[&str],
    limit: Duration,
) -> Result<String, CommandError> {
    let command = || format!("{program} {}", args.join(" "));
    let io = |source| CommandError::Io {
        command: command(),
        source,
    };
    let mut child = Command::new(find(program)?)
        .args(args)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let Some(status) = wait(&mut child, limit).map_err(io)? else {
        return Err(CommandError::TimedOut {
            command: command(),
            limit,
        });
    };
    // A grandchild may hold the pipe for longer than the program lives.
    let text = |pipe: mpsc::Receiver<String>| {
        pipe.recv_timeout(Duration::from_secs(1))
            .unwrap_or_default()
    };
    if status.success() {
        Ok(text(stdout))
    } else {
        Err(CommandError::Failed {
            command: command(),
            status: status.to_string(),
            stderr: text(stderr).trim().replace('\n', "; "),
        })
    }
}

fn find(program: &'static str) -> Result<PathBuf, CommandError> {
    DIRECTORIES
        .iter()
        .map(|directory| PathBuf::from(directory).join(program))
        .find(|path| path.is_file())
        .ok_or(CommandError::Missing {
            program,
            package: match program {
                "tc" => "iproute2",
                "dmsetup" => "dmsetup",
                _ => "systemd",
            },
        })
}

/// Reads a pipe to its end in a thread, so that a talkative program cannot block on it.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    receiver
}

/// Waits for the end; `None` after the limit, and the child is gone then.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn has_sys_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & CAP_SYS_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_back_and_a_complaint_is_in_the_error() {
        assert_eq!(run("echo", &["hello"]).unwrap(), "hello\n");
        let error = run("ls", &["/nonexistent"]).unwrap_err();
        assert!(error.says(&["/nonexistent"]), "{error}");
        assert!(error.to_string().contains("ls /nonexistent"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = run("systemd-nothing", &[]).unwrap_err().to_string();
        assert!(
            error.contains("systemd-nothing") && error.contains("install"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let begun = Instant::now();
        let error = run_within("sleep", &["60"], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn more_output_than_a_pipe_holds_does_not_block() {
        let text = run("head", &["--bytes=1000000", "/dev/zero"]).unwrap();
        assert_eq!(text.len(), 1_000_000);
    }
}

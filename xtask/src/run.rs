//! Running other programs: every one has a time limit, a log file and, while it runs, a progress line.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::processes::kill_tree;
use crate::progress::Progress;

/// How many lines of a failed command's output the error shows; the log file has all of them.
const TAIL_LINES: usize = 40;

/// A command that is going to run. Nothing happens until [`Run::step`], [`Run::output`], [`Run::stream`], [`Run::status`] or [`Run::interactive`].
pub(crate) struct Run {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    unset: Vec<OsString>,
    dir: Option<PathBuf>,
    input: Option<Vec<u8>>,
    limit: Duration,
    as_root: bool,
    detached: bool,
}

/// What a command that ended left behind.
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Standard output, trimmed at the end.
    pub(crate) stdout: String,
    /// Both streams in the order in which their lines came.
    pub(crate) lines: Vec<String>,
}

impl Run {
    /// A command with a limit of ten minutes.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            unset: Vec::new(),
            dir: None,
            input: None,
            limit: Duration::from_secs(600),
            as_root: false,
            detached: false,
        }
    }

    /// A command that needs root: run through `sudo` when xtask isn't root itself.
    pub(crate) fn root(program: impl AsRef<OsStr>) -> Self {
        Self {
            as_root: !is_root(),
            ..Self::new(program)
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One environment variable. It also reaches a command that runs through `sudo`.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable of xtask's own environment away.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.unset.push(name.into());
        self
    }

    /// The working directory; the repository's root otherwise.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// What the command reads from standard input; nothing otherwise.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// In a session of its own: it outlives xtask and the terminal. For [`Run::spawn`].
    pub(crate) fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// The time limit, in seconds.
    pub(crate) fn limit_s(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it as a step of a longer work: output goes to a log file, a line shows the progress, and a failure shows the end of the output.
    pub(crate) fn step(self, label: &str) -> Result<Ended> {
        let shown = self.shown();
        let ended = self.observe(Some(label), |_| {})?;
        if ended.status.success() {
            return Ok(ended);
        }
        let tail = ended.lines[ended.lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
        bail!(
            "{label} failed ({}): {shown}\n    {tail}\n(whole output in {})",
            ended.status,
            log_file(label).display()
        )
    }

    /// Runs it quietly and gives its standard output back; a failure shows what it said.
    pub(crate) fn output(self) -> Result<String> {
        let shown = self.shown();
        let ended = self.observe(None, |_| {})?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        bail!(
            "{shown} failed ({})\n    {}",
            ended.status,
            ended.lines.join("\n    ")
        )
    }

    /// Runs it quietly; an exit status other than 0 is an answer, not an error.
    pub(crate) fn status(self) -> Result<Ended> {
        self.observe(None, |_| {})
    }

    /// Whether it runs and exits with 0; not being there counts as no.
    pub(crate) fn succeeds(self) -> bool {
        self.status().is_ok_and(|ended| ended.status.success())
    }

    /// Runs it and hands every line to `each` as it comes.
    pub(crate) fn stream(self, each: impl FnMut(&str)) -> Result<Ended> {
        self.observe(None, each)
    }

    /// Gives it the terminal and waits for it, without a limit: for shells and the lab's command line.
    pub(crate) fn interactive(self) -> Result<ExitStatus> {
        let shown = self.shown();
        self.command()
            .status()
            .with_context(|| format!("cannot start {shown}"))
    }

    /// Starts it in the background with its output in `log`.
    pub(crate) fn spawn(self, log: &Path) -> Result<Child> {
        let shown = self.shown();
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        command
            .spawn()
            .with_context(|| format!("cannot start {shown}"))
    }

    /// The command as a person would type it.
    pub(crate) fn shown(&self) -> String {
        let words = std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| {
                let word = word.to_string_lossy();
                if word.is_empty() || word.contains([' ', '"', '\'', '$', '*', '\n', ';', '|', '&'])
                {
                    format!("{word:?}")
                } else {
                    word.into_owned()
                }
            });
        let sudo = if self.as_root { "sudo " } else { "" };
        format!("{sudo}{}", words.collect::<Vec<_>>().join(" "))
    }

    fn command(&self) -> Command {
        let mut command;
        if self.as_root {
            command = Command::new("sudo");
            if !self.envs.is_empty() {
                command.arg("env");
                for (name, value) in &self.envs {
                    let mut pair = name.clone();
                    pair.push("=");
                    pair.push(value);
                    command.arg(pair);
                }
            }
            command
                .args(self.detached.then_some("setsid"))
                .arg(&self.program);
        } else {
            command = Command::new(if self.detached {
                OsStr::new("setsid")
            } else {
                &self.program
            });
            command.args(self.detached.then_some(&self.program));
            command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        }
        for name in &self.unset {
            command.env_remove(name);
        }
        command
            .args(&self.args)
            .current_dir(self.dir.as_deref().unwrap_or(paths::root()));
        command
    }

    fn observe(mut self, label: Option<&str>, mut each: impl FnMut(&str)) -> Result<Ended> {
        let shown = self.shown();
        let started = Instant::now();
        let mut log = match label {
            Some(label) => {
                fs::create_dir_all(paths::logs())?;
                let mut file = File::create(log_file(label))?;
                writeln!(file, "$ {shown}")?;
                Some(file)
            }
            None => None,
        };
        let input = self.input.take();
        let mut command = self.command();
        command
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A command that ends without reading everything is judged by its exit status.
            thread::spawn(move || stdin.write_all(&input).ok());
        }
        let (sender, receiver) = mpsc::channel();
        for (is_stdout, stream) in [
            (
                true,
                child
                    .stdout
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
            (
                false,
                child
                    .stderr
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
        ] {
            let (Some(stream), sender) = (stream, sender.clone()) else {
                continue;
            };
            thread::spawn(move || {
                read_lines(stream, |line| sender.send((is_stdout, line)).is_ok())
            });
        }
        drop(sender);

        let mut progress = Progress::new(label);
        let (mut lines, mut stdout) = (Vec::new(), String::new());
        let mut exited_at = None;
        let status = loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok((is_stdout, line)) => {
                    if let Some(log) = &mut log {
                        writeln!(log, "{line}")?;
                    }
                    each(&line);
                    if is_stdout {
                        stdout.push_str(&line);
                        stdout.push('\n');
                    }
                    lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(5)),
            }
            progress.tick(started, lines.last());
            if let Some(status) = child.try_wait()? {
                // The pipes may stay open in a daemon that the command left behind: don't wait for that one.
                let exited: &Instant = exited_at.get_or_insert_with(Instant::now);
                let drained = matches!(
                    receiver.try_recv().map(|(is_stdout, line)| {
                        if is_stdout {
                            stdout.push_str(&line);
                            stdout.push('\n');
                        }
                        each(&line);
                        lines.push(line);
                    }),
                    Err(mpsc::TryRecvError::Disconnected)
                );
                if drained || exited.elapsed() > Duration::from_secs(1) {
                    break status;
                }
            } else if started.elapsed() > self.limit {
                kill_tree(child.id(), self.as_root);
                child.wait().ok();
                progress.clear();
                let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
                bail!(
                    "{shown}: no end within {} s, stopped\n    {tail}",
                    self.limit.as_secs()
                );
            }
        };
        progress.done(started, status.success());
        stdout.truncate(stdout.trim_end().len());
        Ok(Ended {
            status,
            stdout,
            lines,
        })
    }
}

/// Hands the stream's lines over until it ends or nobody wants them. A progress bar's carriage return ends a line too.
fn read_lines(stream: impl Read, mut hand_over: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let last = text.rsplit('\r').next().unwrap_or(text).to_owned();
        line.clear();
        if !hand_over(last) {
            return;
        }
    }
}

/// The log file of a step with this label.
pub(crate) fn log_file(label: &str) -> PathBuf {
    let name: String = label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    paths::logs().join(format!("{name}.log"))
}

/// Whether xtask runs as root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Whether a program of this name is on the search path (the administrators' directories included).
pub(crate) fn has_program(name: &str) -> bool {
    find_program(name).is_some()
}

/// Where a program of this name is.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

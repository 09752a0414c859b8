//! Programs, run with a time limit.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// How long a program may take.
const LIMIT_S: u32 = 60;

/// What a program did.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The command line, for messages.
    pub(crate) line: String,
    /// Its exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, whatever its exit code; an error where it can't be run or takes too long.
pub(crate) fn run(words: &[&str]) -> Result<Ran> {
    run_with_input(words, "")
}

/// As [`run`], with something on standard input.
pub(crate) fn run_with_input(words: &[&str], input: &str) -> Result<Ran> {
    run_for(LIMIT_S, words, input)
}

/// As [`run_with_input`], for something that takes longer than others.
pub(crate) fn run_for(limit_s: u32, words: &[&str], input: &str) -> Result<Ran> {
    let line = words.join(" ");
    let mut child = Command::new("timeout")
        .args(["--kill-after=2", &limit_s.to_string()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {line}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is free not to.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child
        .wait_with_output()
        .with_context(|| format!("cannot run {line}"))?;
    let code = status.code().unwrap_or(-1);
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    match code {
        124 | 137 => bail!("{line}: not done after {limit_s} s"),
        126 | 127 => bail!("{line}: cannot be run: {}", stderr.trim()),
        _ => {}
    }
    Ok(Ran {
        line,
        code,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr,
    })
}

/// Runs a program that must succeed; its standard output.
pub(crate) fn output(words: &[&str]) -> Result<String> {
    let ran = run(words)?;
    ran.expect(0)?;
    Ok(ran.stdout)
}

impl Ran {
    /// An error with everything it said, unless it exited with `code`.
    pub(crate) fn expect(&self, code: i32) -> Result<()> {
        ensure!(
            self.code == code,
            "{}: exit code {} instead of {code}\nstdout: {}\nstderr: {}",
            self.line,
            self.code,
            self.stdout.trim(),
            self.stderr.trim()
        );
        Ok(())
    }

    /// An error unless standard error has every one of the words.
    pub(crate) fn says(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(
                self.stderr.contains(word),
                "{}: `{word}` is missing in what it says: {}",
                self.line,
                self.stderr.trim()
            );
        }
        Ok(())
    }
}

//! Every shell script of the repository, found by its first line.

use std::fs;

use anyhow::{Result, bail};

use crate::run::Run;
use crate::{apt, paths};

/// Runs shellcheck over them.
pub(super) fn check() -> Result<()> {
    apt::ensure("checking shell scripts", &["shellcheck"])?;
    let files = Run::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .limit_s(60)
        .output()?;
    let mut count = 0;
    let mut problems = Vec::new();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let Ok(bytes) = fs::read(paths::root().join(file)) else {
            continue;
        };
        let first = String::from_utf8_lossy(
            bytes
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default(),
        )
        .into_owned();
        let dialect = match first.strip_prefix("#!") {
            Some(interpreter) if interpreter.contains("bash") => "bash",
            Some(interpreter) if interpreter.contains("busybox") => "dash",
            Some(interpreter) if interpreter.trim_end().ends_with("/sh") => "sh",
            _ => continue,
        };
        count += 1;
        let said = Run::new("shellcheck")
            .args(["--shell", dialect, file])
            .limit_s(60)
            .status()?;
        if !said.status.success() {
            problems.push(said.lines.join("\n    "));
        }
    }
    if count == 0 {
        bail!("found no shell script at all");
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!("shellcheck:\n    {}", problems.join("\n    "))
    }
}

//! The guest's tools that we did not write: run to their end, or in the background while a test looks.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What a tool did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Whether it exited with 0.
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Runs a command line, split at spaces, whatever its exit code; an error where it can't be run.
pub(crate) fn ran(line: &str) -> Result<Ran> {
    let started = Instant::now();
    let output = command(line)
        .output()
        .with_context(|| format!("cannot run {line}"))?;
    Ok(Ran {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: started.elapsed(),
    })
}

/// Runs a command line that must succeed; its standard output.
pub(crate) fn run(line: &str) -> Result<String> {
    let ran = ran(line)?;
    ensure!(
        ran.success,
        "{line} failed\nstdout: {}\nstderr: {}",
        ran.stdout.trim(),
        ran.stderr.trim()
    );
    Ok(ran.stdout)
}

/// A command line that is run when this is dropped, whatever became of the test: `tc qdisc del dev lo root`.
pub(crate) struct Finally(String);

impl Finally {
    pub(crate) fn run(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl Drop for Finally {
    fn drop(&mut self) {
        if let Err(error) = run(&self.0) {
            println!("\n    left behind: {error:#}");
        }
    }
}

/// A tool that runs until this is dropped.
pub(crate) struct Background(Child);

impl Background {
    pub(crate) fn start(line: &str) -> Result<Self> {
        let child = command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {line}"))?;
        Ok(Self(child))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

/// A sparse file with a loop device on it, both gone when this is dropped.
pub(crate) struct Disk {
    file: PathBuf,
    /// `/dev/loopN`.
    pub(crate) device: String,
    /// Its size in sectors of 512 bytes.
    pub(crate) sectors: u64,
}

impl Disk {
    /// Makes one of this size with zeros in it.
    pub(crate) fn new(mib: u64) -> Result<Self> {
        let file = Path::new("/tmp").join(format!("disk-{}", std::process::id()));
        std::fs::File::create(&file)?.set_len(mib << 20)?;
        let device = run("losetup -f")?.trim().to_owned();
        run(&format!("losetup {device} {}", file.display()))?;
        Ok(Self {
            file,
            device,
            sectors: mib << 11,
        })
    }

    /// Puts a device-mapper device on it: `target` is its kind, `arguments` what follows the device and the offset.
    pub(crate) fn map(&self, name: &str, target: &str, arguments: &str) -> Result<Mapped> {
        let path = format!("/dev/mapper/{name}");
        let table = format!("0 {} {target} {} 0 {arguments}", self.sectors, self.device);
        let output = Command::new("dmsetup")
            .args(["create", name, "--table", table.trim()])
            .output()?;
        ensure!(
            output.status.success(),
            "dmsetup create {name} --table '{table}': {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Mapped {
            path,
            _removal: Finally::run(format!("dmsetup remove --retry {name}")),
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Finally::run(format!("losetup -d {}", self.device)));
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A device-mapper device, gone when this is dropped.
pub(crate) struct Mapped {
    /// `/dev/mapper/NAME`.
    pub(crate) path: String,
    _removal: Finally,
}

//! The generators, and what they say.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::CONNECTIONS;

/// The CPU that a tool has for itself; the minimal server has the first.
const CPU: &str = "1";

/// A generator.
#[derive(Clone, Debug)]
pub(super) enum Tool {
    Ours(PathBuf),
    Wrk,
    Oha(PathBuf),
    Hey,
    Locust(PathBuf),
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Answers a second, as the tool says.
    pub(super) per_second: f64,
    pub(super) elapsed_s: f64,
    /// CPU time of the tool, as the kernel says.
    pub(super) cpu_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Not a number where it does not say.
    pub(super) late_p99_us: f64,
}

/// A program's output, and what it took.
struct Ran {
    stdout: String,
    elapsed_s: f64,
    cpu_s: f64,
}

impl Tool {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "observastack-loadgen",
            Self::Wrk => "wrk",
            Self::Oha(_) => "oha",
            Self::Hey => "hey",
            Self::Locust(_) => "Locust (FastHttpUser)",
        }
    }

    /// As fast as the connections allow.
    pub(super) fn closed(&self, url: &str, length: Duration) -> Result<Outcome> {
        let seconds = format!("{}s", length.as_secs());
        let connections = CONNECTIONS.to_string();
        match self {
            Self::Ours(program) => {
                ours(program, url, &["--users", &connections, "--for", &seconds])
            }
            Self::Wrk => {
                let ran = run(&[
                    "wrk",
                    "-t1",
                    "-c",
                    &connections,
                    "-d",
                    &seconds,
                    "--latency",
                    url,
                ])?;
                let line = |word: &str| {
                    let found = ran
                        .stdout
                        .lines()
                        .find_map(|line| line.trim().strip_prefix(word));
                    found
                        .map(str::trim)
                        .with_context(|| format!("wrk says no {word}: {}", ran.stdout))
                };
                Ok(Outcome {
                    per_second: line("Requests/sec:")?.parse()?,
                    elapsed_s: ran.elapsed_s,
                    cpu_s: ran.cpu_s,
                    p50_ms: with_unit(line("50%")?)?,
                    p99_ms: with_unit(line("99%")?)?,
                    late_p99_us: f64::NAN,
                })
            }
            Self::Oha(program) => oha(program, url, &["-c", &connections, "-z", &seconds]),
            Self::Hey => {
                let ran = run(&["hey", "-cpus", "1", "-c", &connections, "-z", &seconds, url])?;
                let word = |word: &str| {
                    let found = ran
                        .stdout
                        .lines()
                        .find_map(|line| line.trim().strip_prefix(word));
                    let found = found.and_then(|rest| rest.split_whitespace().next());
                    let number = found.and_then(|number| number.parse::<f64>().ok());
                    number.with_context(|| format!("hey says no {word}: {}", ran.stdout))
                };
                Ok(Outcome {
                    per_second: word("Requests/sec:")?,
                    elapsed_s: ran.elapsed_s,
                    cpu_s: ran.cpu_s,
                    p50_ms: word("50% in")? * 1e3,
                    p99_ms: word("99% in")? * 1e3,
                    late_p99_us: f64::NAN,
                })
            }
            Self::Locust(program) => locust(&program.display().to_string(), url, &seconds),
        }
    }

    /// At a rate.
    pub(super) fn open(&self, url: &str, rate: u32, length: Duration) -> Result<Outcome> {
        let (rate, seconds) = (rate.to_string(), format!("{}s", length.as_secs()));
        match self {
            Self::Ours(program) => ours(
                program,
                url,
                &["--rate", &rate, "--for", &seconds, "--connections", "64"],
            ),
            Self::Oha(program) => oha(
                program,
                url,
                &[
                    "-c",
                    "64",
                    "-q",
                    &rate,
                    "--latency-correction",
                    "-z",
                    &seconds,
                ],
            ),
            other => bail!("{} has no open loop", other.name()),
        }
    }
}

/// Runs a program on its CPU, under a shell that says what it took.
fn run(words: &[&str]) -> Result<Ran> {
    let output = Command::new("bash")
        .args([
            "-c",
            "TIMEFORMAT='took %R %U %S'; time taskset -c \"$0\" timeout 120 \"$@\"",
            CPU,
        ])
        .args(words)
        .output()
        .context("cannot run bash")?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    ensure!(
        output.status.success(),
        "{words:?}: {}\n{stdout}{stderr}",
        output.status
    );
    let line = stderr
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("took "));
    let numbers: Vec<f64> = line
        .with_context(|| format!("no times: {stderr}"))?
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [elapsed_s, user_s, system_s] = numbers[..] else {
        bail!("no times: {stderr}");
    };
    Ok(Ran {
        stdout,
        elapsed_s,
        cpu_s: user_s + system_s,
    })
}

fn ours(program: &Path, url: &str, load: &[&str]) -> Result<Outcome> {
    let file = tempfile::NamedTempFile::new()?;
    let (program, path) = (
        program.display().to_string(),
        file.path().display().to_string(),
    );
    let fixed = [&program, "run", url, "--quiet", "--report", &path];
    let ran = run(&[&fixed[..], load].concat())?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let number = |value: &Value| {
        value
            .as_f64()
            .with_context(|| format!("no number in {report}"))
    };
    ensure!(report["error_share"] == 0.0, "errors: {}", report["errors"]);
    Ok(Outcome {
        per_second: number(&report["answered_per_second"])?,
        elapsed_s: ran.elapsed_s,
        cpu_s: ran.cpu_s,
        p50_ms: number(&report["response"]["p50_ns"])? / 1e6,
        p99_ms: number(&report["response"]["p99_ns"])? / 1e6,
        late_p99_us: number(&report["schedule"]["p99_ns"])? / 1e3,
    })
}

fn oha(program: &Path, url: &str, load: &[&str]) -> Result<Outcome> {
    let program = program.display().to_string();
    let fixed = [&program, "--no-tui", "--output-format", "json"];
    let ran = run(&[&fixed[..], load, &[url]].concat())?;
    let report: Value = serde_json::from_str(&ran.stdout).context("oha's report")?;
    let number = |value: &Value| {
        value
            .as_f64()
            .with_context(|| format!("no number in {report}"))
    };
    Ok(Outcome {
        per_second: number(&report["summary"]["requestsPerSec"])?,
        elapsed_s: ran.elapsed_s,
        cpu_s: ran.cpu_s,
        p50_ms: number(&report["latencyPercentiles"]["p50"])? * 1e3,
        p99_ms: number(&report["latencyPercentiles"]["p99"])? * 1e3,
        late_p99_us: f64::NAN,
    })
}

fn locust(program: &str, url: &str, seconds: &str) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let (host, path) = match url.splitn(4, '/').collect::<Vec<_>>()[..] {
        [scheme, _, host, path] => (format!("{scheme}//{host}"), format!("/{path}")),
        _ => bail!("{url} is no URL"),
    };
    let file = directory.path().join("locustfile.py");
    let code = format!(
        "from locust import FastHttpUser, task\n\n\nclass User(FastHttpUser):\n    @task\n    def get(self):\n        self.client.get({path:?})\n"
    );
    std::fs::write(&file, code)?;
    let csv = directory.path().join("out").display().to_string();
    let users = CONNECTIONS.to_string();
    let file = file.display().to_string();
    let ran = run(&[
        program,
        "--headless",
        "--only-summary",
        "-f",
        &file,
        "-u",
        &users,
        "-r",
        &users,
        "-t",
        seconds,
        "--host",
        &host,
        "--csv",
        &csv,
    ])?;
    let text = std::fs::read_to_string(format!("{csv}_stats.csv"))?;
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let all: Vec<&str> = lines.last().unwrap_or_default().split(',').collect();
    let column = |name: &str| -> Result<f64> {
        let place = heading.iter().position(|known| *known == name);
        let value = place.and_then(|place| all.get(place));
        Ok(value
            .with_context(|| format!("no {name} in {text}"))?
            .parse()?)
    };
    Ok(Outcome {
        per_second: column("Requests/s")?,
        elapsed_s: ran.elapsed_s,
        cpu_s: ran.cpu_s,
        p50_ms: column("50%")?,
        p99_ms: column("99%")?,
        late_p99_us: f64::NAN,
    })
}

/// `1.23ms` as milliseconds.
fn with_unit(text: &str) -> Result<f64> {
    for (unit, ms) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>().with_context(|| text.to_owned())? * ms);
        }
    }
    bail!("`{text}` is no time")
}

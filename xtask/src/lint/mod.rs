//! The lint lane: what can be said about the sources without running them. Every check counts as a test.

mod graph;
mod licences;
mod prometheus;
mod scripts;
mod units;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::results::Totals;
use crate::run::Run;
use crate::{apt, paths, playbook};

/// Runs every check; one that cannot be done here fails and says why.
pub(crate) fn run() -> Result<Totals> {
    apt::ensure(
        "compiling the workspace",
        &["libsystemd-dev", "pkg-config", "cmake", "clang"],
    )?;
    let metadata = metadata(paths::root())?;
    let programs = metadata_of_programs()?;
    let checks: [(&str, &dyn Fn() -> Result<()>); 11] = [
        ("rustfmt", &rustfmt),
        ("clippy", &clippy),
        ("crate_graph", &|| graph::check(&metadata, &programs)),
        ("no_unsafe_code", &|| graph::check_unsafe(&metadata)),
        ("licences", &|| {
            licences::check_licences(&[&metadata, &programs])
        }),
        ("sources", &|| {
            licences::check_sources(&[&metadata, &programs])
        }),
        ("duplicate_versions", &|| {
            licences::check_duplicates(&metadata)
        }),
        ("shellcheck", &scripts::check),
        ("ansible_lint", &ansible_lint),
        ("prometheus_rules", &prometheus::check),
        ("systemd_analyze_verify", &units::check),
    ];
    let mut totals = Totals::default();
    for (name, check) in checks {
        totals.check(&format!("lint::{name}"), check());
    }
    Ok(totals)
}

fn metadata(dir: &Path) -> Result<Value> {
    let json = Run::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .dir(dir)
        .limit_s(300)
        .output()?;
    serde_json::from_str(&json).context("cargo metadata gave no JSON")
}

fn metadata_of_programs() -> Result<Value> {
    metadata(&paths::root().join("ebpf/programs"))
}

fn rustfmt() -> Result<()> {
    for dir in [
        paths::root().to_owned(),
        paths::root().join("ebpf/programs"),
    ] {
        Run::new("cargo")
            .args(["fmt", "--all", "--check"])
            .dir(dir)
            .limit_s(120)
            .output()?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    Run::new("cargo")
        .args([
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
        .limit_s(3600)
        .step("clippy")
        .map(drop)
}

fn ansible_lint() -> Result<()> {
    let bin = playbook::environment()?;
    let path = std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    )))?;
    let ended = Run::new(bin.join("ansible-lint"))
        .args(["--offline", "--nocolor"])
        .dir(paths::root().join("ansible"))
        .env("PATH", path)
        .limit_s(300)
        .status()?;
    if ended.status.success() {
        Ok(())
    } else {
        bail!("ansible-lint:\n    {}", ended.lines.join("\n    "))
    }
}

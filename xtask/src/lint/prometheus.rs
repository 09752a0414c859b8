//! Prometheus's configuration and rules, by its own `promtool`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::debian::{self, Recipe};
use crate::paths;

/// The rules are what they claim to be, and the cases in `observability/prometheus/tests` come out as written.
pub(super) fn check() -> Result<()> {
    let dir = paths::root().join("observability/prometheus");
    // Not on this machine: there the package would start a server.
    let image = debian::image(&Recipe {
        name: "promtool",
        what: "promtool",
        packages: &["prometheus"],
        before: "",
        after: "",
    })?;
    let tests = files(&dir.join("tests"))?;
    let rules = files(&dir.join("rules"))?;
    if tests.is_empty() || rules.is_empty() {
        bail!("no rules or no cases in {}", dir.display());
    }
    let inside = |files: &[PathBuf], folder: &str| -> Vec<String> {
        let names = files.iter().filter_map(|file| file.file_name());
        names
            .map(|name| format!("/rules/{folder}/{}", name.to_string_lossy()))
            .collect()
    };
    let binds = [(dir.as_path(), "/rules")];
    let promtool = |words: &[&str], files: Vec<String>| {
        image
            .command(&binds, "promtool")
            .args(words)
            .args(files)
            .limit_s(300)
            .output()
            .map(drop)
    };
    promtool(
        &["check", "config", "--syntax-only"],
        vec!["/rules/prometheus.yml".to_owned()],
    )?;
    promtool(&["check", "rules"], inside(&rules, "rules"))?;
    promtool(&["test", "rules"], inside(&tests, "tests"))
}

fn files(dir: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    Ok(files)
}

//! Python programs of others, each set in a virtual environment of its own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::fingerprint::{self, Fingerprint};
use crate::run::Run;
use crate::{apt, lock, paths};

/// The environment with what a file of requirements pins, in the cache under `name`; its `bin` folder is given back.
pub(crate) fn environment(name: &str, requirements: &str, what: &str) -> Result<PathBuf> {
    let venv = paths::cache()?.join(name);
    let requirements = paths::root().join(requirements);
    let python = python(what)?;
    let fingerprint = Fingerprint::default()
        .path(&requirements)?
        .word(&python)
        .finish();
    let _lock = lock::take(&venv.with_extension("lock"))?;
    if !fingerprint::is_current(&venv, &fingerprint) {
        fs::remove_dir_all(&venv).ok();
        Run::new(&python)
            .args(["-m", "venv"])
            .arg(&venv)
            .limit_s(120)
            .step("make a Python environment")?;
        Run::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements)
            .step(&format!("install {what}"))?;
        fingerprint::note(&venv, &fingerprint)?;
    }
    Ok(venv.join("bin"))
}

/// A Python that the pinned Ansible runs on, with the module that makes environments.
fn python(what: &str) -> Result<String> {
    let works = |python: &str| {
        Run::new(python)
            .args([
                "-c",
                "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))",
            ])
            .limit_s(30)
            .succeeds()
    };
    if let Some(found) = ["python3", "python3.13", "python3.12", "python3.11"]
        .into_iter()
        .find(|python| works(python))
    {
        return Ok(found.to_owned());
    }
    let is_recent = Run::new("python3")
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
        .limit_s(30)
        .succeeds();
    let (python, packages) = if is_recent || !apt::is_available("python3.11-venv") {
        ("python3", ["python3", "python3-venv"])
    } else {
        ("python3.11", ["python3.11", "python3.11-venv"])
    };
    apt::ensure(what, &packages)?;
    if !works(python) {
        bail!(
            "{what} needs Python 3.11 or newer with its venv module, and this machine's distribution has none"
        );
    }
    Ok(python.to_owned())
}

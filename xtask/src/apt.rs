//! The host's packages. xtask installs what it needs where it may, and says what to run where it may not.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::run::{self, Run};

static UPDATED: AtomicBool = AtomicBool::new(false);

/// Installs those of `packages` that are missing. `why` completes the sentence "needed for ...".
pub(crate) fn ensure(why: &str, packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let advice = format!(
        "needed for {why}; install with: sudo apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if !run::has_program("apt-get") {
        bail!(
            "this machine has no apt-get; these Debian packages (or your distribution's counterparts) are {advice}"
        );
    }
    if !can_be_root() {
        bail!("not root and no sudo without a password: cannot install packages {advice}");
    }
    if missing.iter().any(|package| !is_available(package)) {
        update();
    }
    // A package list that is older than the archive names files that are gone: one more try with a fresh list.
    if let Err(first) = install(&missing, why) {
        if UPDATED.load(Ordering::Relaxed) {
            return Err(first).with_context(|| format!("packages {advice}"));
        }
        update();
        install(&missing, why).with_context(|| format!("packages {advice}"))?;
    }
    Ok(())
}

/// Whether the archive has a package of this name that can be installed.
pub(crate) fn is_available(package: &str) -> bool {
    candidate(package).is_some()
}

/// The version that apt would install.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = Run::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .limit_s(60)
        .output()
        .ok()?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?
        .trim();
    (version != "(none)").then(|| version.to_owned())
}

/// Whether the package is installed.
pub(crate) fn is_installed(package: &str) -> bool {
    Run::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .limit_s(60)
        .output()
        .is_ok_and(|status| status == "installed")
}

/// Whether xtask is root or can be without asking.
pub(crate) fn can_be_root() -> bool {
    run::is_root() || Run::new("sudo").args(["-n", "true"]).limit_s(20).succeeds()
}

/// Refreshes the package lists once per run. Somebody else's broken source is a warning: ours may be fine.
pub(crate) fn update() {
    if UPDATED.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = apt_get().arg("update").limit_s(300).step("apt-get update") {
        eprintln!("    warning: {error:#}");
    }
}

fn install(packages: &[&str], why: &str) -> Result<()> {
    let label = format!("apt-get install ({why})");
    apt_get()
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .limit_s(1200)
        .step(&label)
        .map(drop)
}

fn apt_get() -> Run {
    Run::root("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
}

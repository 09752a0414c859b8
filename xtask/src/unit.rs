//! The unit lane: everything that `cargo test` runs.

use std::path::Path;

use anyhow::Result;

use crate::results::Totals;
use crate::run::Run;
use crate::{apt, build_ebpf};

/// Builds and runs the workspace's tests; a test program that ends without a result line counts as one failure.
pub(crate) fn run(filter: Option<&str>) -> Result<Totals> {
    apt::ensure(
        "compiling the workspace",
        &["libsystemd-dev", "pkg-config", "cmake", "clang"],
    )?;
    postgresql()?;
    // The loader's tests read the compiled programs.
    let object = build_ebpf::build()?;
    Run::new("cargo")
        .args(["test", "--release", "--workspace", "--no-run"])
        .limit_s(3600)
        .step("build the tests")?;
    let mut totals = Totals::default();
    let ended = Run::new("cargo")
        .args([
            "test",
            "--release",
            "--workspace",
            "--no-fail-fast",
            "--quiet",
        ])
        .args(filter)
        .env("OBSERVASTACK_BPF_OBJECT", object)
        .limit_s(1200)
        .stream(|line| {
            println!("{line}");
            totals.read(line);
        })?;
    if !ended.status.success() && totals.failed == 0 {
        let reason = format!("a test program ended early ({})", ended.status);
        totals.fail("cargo test", &reason);
    }
    Ok(totals)
}

/// The services' tests start a server of their own. Debian's package would start one for the host as well: that is turned off while it is
/// installed.
fn postgresql() -> Result<()> {
    if std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
        versions.any(|version| {
            version.is_ok_and(|version| version.path().join("bin/postgres").exists())
        })
    }) {
        return Ok(());
    }
    let metapackage = apt::candidate("postgresql").or_else(|| {
        apt::update();
        apt::candidate("postgresql")
    });
    let version = metapackage
        .as_deref()
        .and_then(|version| version.split('+').next())
        .unwrap_or("17")
        .to_owned();
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    let setting = folder.join("observastack.conf");
    Run::root("install")
        .args(["-D", "-m", "644", "/dev/stdin"])
        .arg(&setting)
        .input("create_main_cluster = false\n")
        .output()?;
    let installed = apt::ensure("the services' tests", &[&format!("postgresql-{version}")]);
    Run::root("rm").arg("-f").arg(&setting).output()?;
    installed
}

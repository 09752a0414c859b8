//! Where everything is: the repository, the build output, the caches that survive `down`, and the state of a machine.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};

/// The repository's root: the folder that holds `xtask/`.
///
/// `cargo run` says at run time where that is. What was compiled in is only for a binary that is started by itself: with a target
/// directory that several checkouts share, it can name the checkout that compiled it, which may be gone.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let xtask = env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.ends_with("xtask"))
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        xtask.parent().unwrap_or(Path::new(".")).to_owned()
    });
    &ROOT
}

/// Cargo's target directory: `CARGO_TARGET_DIR` (relative to the working directory, as cargo takes it) or `target/`.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => {
            env::current_dir().map_or_else(|_| PathBuf::from(&dir), |here| here.join(&dir))
        }
        _ => root().join("target"),
    }
}

/// Release binaries and test binaries end up here.
pub(crate) fn release_dir() -> PathBuf {
    target().join("release")
}

/// The eBPF object with the probes of kernel telemetry.
pub(crate) fn bpf_observer() -> PathBuf {
    target().join("bpf/observer.bpf.o")
}

/// The eBPF object with the faults, which the loader, the package and the kernel tests use.
pub(crate) fn bpf_object() -> PathBuf {
    target().join("bpf/observastack.bpf.o")
}

/// The finished package.
pub(crate) fn dist() -> PathBuf {
    root().join("dist")
}

/// Full output of every command that xtask ran, one file per command.
pub(crate) fn logs() -> PathBuf {
    target().join("xtask/logs")
}

/// Downloads and tools that later runs reuse: `$XDG_CACHE_HOME/observastack` or `~/.cache/observastack`.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(
            env::var_os("HOME")
                .context("neither XDG_CACHE_HOME nor HOME is set: no place for the cache")?,
        )
        .join(".cache"),
    };
    Ok(base.join("observastack"))
}

/// Programs that xtask installs for itself (`bpf-linker`), as `cargo install --root` lays them out.
pub(crate) fn tools() -> Result<PathBuf> {
    Ok(cache()?.join("tools"))
}

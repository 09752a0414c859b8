//! Where everything is: the repository, the build output, the caches that survive `down`, and the state of a machine.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository's root: the folder that holds `xtask/`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
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

/// The eBPF object that the loader, the package and the kernel tests use.
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

//! `cargo xtask build-ebpf`: compiles `ebpf/programs` for the kernel.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::fingerprint::{self, Fingerprint};
use crate::run::Run;
use crate::{lock, paths, toolchain};

/// Written to the target's compiler flags: see the atomics' trap in ARCHITECTURE.md for `v3`; BTF is made from the debug information.
const FLAGS: [&str; 6] = [
    "-C",
    "target-cpu=v3",
    "-C",
    "debuginfo=2",
    "-C",
    "link-arg=--btf",
];

/// Builds the objects when their sources, their compiler or their linker have changed; where the one with the faults is.
pub(crate) fn build() -> Result<PathBuf> {
    let object = paths::bpf_object();
    let observer = paths::bpf_observer();
    let dir = object
        .parent()
        .context("the object's path has no folder")?
        .to_owned();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let _lock = lock::take(&dir.join(".lock"))?;

    let programs = paths::root().join("ebpf/programs");
    let (toolchain, linker) = toolchain::find()?;
    let fingerprint = || -> Result<String> {
        Ok(Fingerprint::default()
            .path(&programs)?
            .path(&paths::root().join("ebpf/abi"))?
            .path(&paths::root().join("Cargo.toml"))?
            .word(&toolchain.name)
            .word(&linker.name)
            .word(&FLAGS.join(" "))
            .finish())
    };
    if fingerprint::is_current(&object, &fingerprint()?) && observer.exists() {
        eprintln!("    eBPF objects are up to date: {}", dir.display());
        return Ok(object);
    }

    let build_dir = paths::target().join("bpf-build");
    let linker_flag = format!("linker={}", linker.path.display());
    let flags: Vec<&str> = FLAGS.into_iter().chain(["-C", &linker_flag]).collect();
    Run::new(&toolchain.cargo)
        .args([
            "build",
            "--release",
            "-Z",
            "build-std=core",
            "--target",
            "bpfel-unknown-none",
            "--bins",
        ])
        .dir(&programs)
        .env("RUSTC", &toolchain.rustc)
        // build-std is a nightly feature; a stable compiler takes it with this, a nightly one doesn't mind.
        .env("RUSTC_BOOTSTRAP", "1")
        // Cargo's own separator: neither a space in a path nor the caller's RUSTFLAGS can get between.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", &build_dir)
        .unset("RUSTUP_TOOLCHAIN")
        .unset("LD_LIBRARY_PATH")
        .limit_s(900)
        .step(&format!("build eBPF programs with {}", toolchain.name))?;
    let built = build_dir.join("bpfel-unknown-none/release");
    for (from, to) in [
        ("observastack-observer", &observer),
        ("observastack", &object),
    ] {
        let from = built.join(from);
        fs::copy(&from, to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    // Computed again: the first build of a new dependency writes the lock file.
    fingerprint::note(&object, &fingerprint()?)?;
    eprintln!("    eBPF objects: {}", dir.display());
    Ok(object)
}

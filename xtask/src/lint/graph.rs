//! The crates' dependencies on each other: the picture in ARCHITECTURE.md, enforced.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Every crate, and which crates of ours it may use. The tests use what they test; nothing may use them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("xtask", &[]),
    ("observastack-telemetry", &[]),
    ("observastack-kit", &["observastack-telemetry"]),
    (
        "observastack-gateway",
        &["observastack-kit", "observastack-telemetry"],
    ),
    (
        "observastack-api",
        &["observastack-kit", "observastack-telemetry"],
    ),
    (
        "observastack-inventory",
        &["observastack-kit", "observastack-telemetry"],
    ),
    (
        "observastack-worker",
        &["observastack-kit", "observastack-telemetry"],
    ),
    ("observastack-collector", &["observastack-telemetry"]),
    (
        "observastack-loadgen",
        &["observastack-spec", "observastack-telemetry"],
    ),
    ("observastack-abi", &[]),
    ("observastack-programs", &["observastack-abi"]),
    ("observastack-loader", &["observastack-abi"]),
    ("observastack-spec", &[]),
    (
        "observastack-injector",
        &[
            "observastack-spec",
            "observastack-loader",
            "observastack-abi",
            "observastack-telemetry",
        ],
    ),
    (
        "observastack-observer",
        &[
            "observastack-spec",
            "observastack-loader",
            "observastack-abi",
            "observastack-telemetry",
        ],
    ),
    ("observastack-ctl", &["observastack-spec"]),
    (
        "observastack-controller",
        &["observastack-spec", "observastack-telemetry"],
    ),
    (
        "observastack-vm-tests",
        &[
            "observastack-spec",
            "observastack-loader",
            "observastack-abi",
            "observastack-injector",
        ],
    ),
    (
        "observastack-bench",
        &["observastack-spec", "observastack-loader"],
    ),
    ("observastack-e2e", &["observastack-spec"]),
];

/// Only these may talk to the kernel's BPF interface or contain unsafe code.
const LOADS_PROGRAMS: &str = "observastack-loader";
const MAY_BE_UNSAFE: &[&str] = &["observastack-abi", "observastack-programs", LOADS_PROGRAMS];

/// Compares the workspace, and the programs outside it, with the table.
pub(super) fn check(workspace: &Value, programs: &Value) -> Result<()> {
    let mut problems = Vec::new();
    for package in members(workspace)?.into_iter().chain(members(programs)?) {
        let name = text(package, "name")?;
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            problems.push(format!(
                "{name} is not in the table in xtask/src/lint/graph.rs"
            ));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .context("a package without dependencies")?
        {
            let used = text(dependency, "name")?;
            let is_ours = ALLOWED.iter().any(|(crate_name, _)| *crate_name == used);
            // Tests may compare crates with each other.
            let is_for_tests = dependency["kind"] == "dev";
            if is_ours && !is_for_tests && !allowed.contains(&used) {
                problems.push(format!("{name} must not depend on {used}"));
            }
            let loads = ["aya", "aya-log", "libbpf-rs", "aya-obj"].contains(&used);
            let only_marks_types = name == "observastack-abi" && dependency["optional"] == true;
            if loads && name != LOADS_PROGRAMS && !only_marks_types {
                problems.push(format!(
                    "{name} must not depend on {used}: only {LOADS_PROGRAMS} may"
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!("{}", problems.join("; "))
    }
}

/// Every crate root but those few says `#![forbid(unsafe_code)]`.
pub(super) fn check_unsafe(workspace: &Value) -> Result<()> {
    let mut problems = Vec::new();
    for package in members(workspace)? {
        if MAY_BE_UNSAFE.contains(&text(package, "name")?) {
            continue;
        }
        for target in package["targets"]
            .as_array()
            .context("a package without targets")?
        {
            let is_ours = target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib" || kind == "bin"));
            let source = text(target, "src_path")?;
            if is_ours
                && !fs::read_to_string(source)
                    .with_context(|| format!("cannot read {source}"))?
                    .contains("#![forbid(unsafe_code)]")
            {
                problems.push(source.to_owned());
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!(
            "these crate roots lack #![forbid(unsafe_code)]: {}",
            problems.join(", ")
        )
    }
}

fn members(metadata: &Value) -> Result<Vec<&Value>> {
    let ids = metadata["workspace_members"]
        .as_array()
        .context("cargo metadata names no members")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .filter(|package| ids.contains(&package["id"]))
        .collect())
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field]
        .as_str()
        .with_context(|| format!("cargo metadata has no {field}"))
}

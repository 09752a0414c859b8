//! A service as a process: signals, the service manager, exit codes, crashes, a full disk.
//!
//! This program is both sides: with [`DIRECTORY`] in its environment it is the service, else the tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;
#[path = "process/crash.rs"]
mod crash;
#[path = "process/disk_full.rs"]
mod disk_full;
#[path = "process/manager.rs"]
mod manager;
#[path = "process/parent.rs"]
mod parent;
#[path = "process/service.rs"]
mod service;
#[path = "process/start.rs"]
mod start;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Where the service has its state directory and socket; the sign to be the service.
const DIRECTORY: &str = "OBSERVASTACK_TEST_DIRECTORY";
/// The address the service listens on.
const LISTEN: &str = "OBSERVASTACK_TEST_LISTEN";

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return service::main(directory.as_ref());
    }
    let mut trials = Vec::new();
    trials.extend(manager::trials());
    trials.extend(start::trials());
    trials.extend(crash::trials());
    trials.extend(disk_full::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test; a panic in it is its failure.
fn trial(name: &'static str, test: impl AsyncFnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failed::from)?;
        runtime.block_on(test());
        Ok(())
    })
}

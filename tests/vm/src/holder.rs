//! A process that holds faults and does nothing else, for tests of what happens when it dies.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    rules::{LONG, Plan, after, errno},
    scene::load,
};

/// The argument that makes this program a holder.
pub(crate) const VERB: &str = "holder";

/// Arms both faults for a unit, says `ok`, and waits for the end of standard input.
pub(crate) fn run(object: &str, cgroup_root: &str, slice: &str, unit: &str) -> ExitCode {
    match hold(object, cgroup_root, slice, unit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold(object: &str, cgroup_root: &str, slice: &str, unit: &str) -> Result<()> {
    let mut loader = load(Path::new(object), Path::new(cgroup_root), slice)?;
    loader.set_lease(after(LONG))?;
    loader.arm(unit, &Plan::always().id(1).error(errno::ECONNREFUSED))?;
    loader.arm(unit, &Plan::always().id(2).loss())?;
    println!("ok");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

//! System calls of a client.

use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

use anyhow::{Context, Result};

use super::{Agent, numbers};
use crate::wait;

/// What a client has made to make calls on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls(usize);

impl Agent {
    /// Makes files, sockets and the like in a folder of their own.
    pub(crate) fn prepare_calls(&mut self, folder: &Path) -> Result<Calls> {
        let answer = self.ask(&format!("prepare-calls {}", folder.display()))?;
        Ok(Calls(answer.parse()?))
    }

    /// Makes a call so many times; each 0 or an errno.
    pub(crate) fn call(&mut self, calls: Calls, name: &str, times: u32) -> Result<Vec<i32>> {
        numbers(&self.ask(&format!("call {} {name} {times}", calls.0))?)
    }

    /// `getppid(2)` so many times, each noted in a file beforehand.
    pub(crate) fn getppid(&mut self, log: &Path, times: u32) -> Result<()> {
        self.ask(&format!("getppid {} {times}", log.display()))?;
        Ok(())
    }

    /// The client's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The signal that has ended the client, waited for.
    pub(crate) fn killed_by(&mut self) -> Result<i32> {
        let mut status: Option<ExitStatus> = None;
        let child = &mut self.child;
        wait::until(self.deadline, "the client is dead", || {
            status = child.try_wait()?;
            Ok(status.is_some())
        })?;
        status
            .and_then(|status| status.signal())
            .with_context(|| format!("no signal ended the client: {status:?}"))
    }
}

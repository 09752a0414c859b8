//! Panic: every rule ends at once, and new faults are refused until it is lifted, also by an injector that starts later.

use observastack_spec::api::{FaultState, FaultStatus, PanicStatus};

use super::Worker;
use crate::{engine::EngineError, host::panic};

impl Worker {
    /// A panic that was declared offline counts too.
    pub(super) fn refuse_in_panic(&mut self) -> Result<(), EngineError> {
        if self.panicked.is_none() {
            self.panicked = panic::read(&self.state_dir);
        }
        match self.panicked {
            Some(_) => Err(EngineError::Panicked),
            None => Ok(()),
        }
    }

    /// The kernel lets go first: writing the file may take a while.
    pub(super) fn panic(
        &mut self,
        by_uid: u32,
    ) -> Result<(PanicStatus, Vec<FaultStatus>), EngineError> {
        if let Ok(loader) = &mut self.loader {
            let _ = loader.set_lease(0);
        }
        let ended = self.end_all(FaultState::Reverted);
        let written = panic::write(&self.state_dir, by_uid);
        self.panicked = Some(written.map_err(|source| EngineError::PanicFile {
            what: "write",
            source,
        })?);
        Ok((self.panic_status(ended.len() as u64), ended))
    }

    pub(super) fn lift_panic(&mut self) -> Result<PanicStatus, EngineError> {
        panic::lift(&self.state_dir).map_err(|source| EngineError::PanicFile {
            what: "remove",
            source,
        })?;
        self.panicked = None;
        Ok(self.panic_status(0))
    }

    pub(super) fn panic_status(&mut self, faults_ended: u64) -> PanicStatus {
        let _ = self.refuse_in_panic();
        PanicStatus {
            panicked: self.panicked.is_some(),
            since_unix_ms: self.panicked.map(|panic| panic.since_unix_ms),
            by_uid: self.panicked.map(|panic| panic.by_uid),
            faults_ended,
        }
    }
}

//! An interface gets a clsact qdisc, the place where tc programs are attached on kernels without tcx (before 6.6).
//!
//! Needs `tc`, `CAP_NET_ADMIN` and `sch_ingress`. Undone by deleting it, with the programs that a dead injector left there.
//! One that was there before is not ours, and stays.

use serde::{Deserialize, Serialize};

use super::{
    check_name,
    fq::{is_gone, qdiscs},
};
use crate::host::{change::ChangeError, command};

/// clsact on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clsact {
    /// The interface.
    pub dev: String,
}

impl Clsact {
    /// `None` where somebody else's is there already.
    pub(crate) fn prepare(self, held: bool) -> Result<Option<Self>, ChangeError> {
        check_name("dev", &self.dev, 15)?;
        let is_others = self.is_there()? && !held;
        Ok((!is_others).then_some(self))
    }

    fn is_there(&self) -> Result<bool, ChangeError> {
        Ok(qdiscs(&self.dev)?
            .iter()
            .any(|qdisc| qdisc.kind == "clsact"))
    }

    /// Adds clsact where there is none.
    pub fn apply(&self) -> Result<(), ChangeError> {
        if !self.is_there()? {
            command::run("tc", &["qdisc", "add", "dev", &self.dev, "clsact"])?;
        }
        Ok(())
    }

    /// Deletes clsact.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match self.is_there() {
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(false) => Ok(()),
            Ok(true) => {
                command::run("tc", &["qdisc", "del", "dev", &self.dev, "clsact"])?;
                Ok(())
            }
        }
    }
}

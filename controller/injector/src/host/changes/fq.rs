//! An interface's root qdisc becomes fq, which sends each packet at the time that a program has written on it.
//!
//! Needs `tc`, `CAP_NET_ADMIN` and the kernel's `sch_fq`. Undone by deleting it: the kernel puts its default back.

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::host::{change::ChangeError, command};

/// The handle that marks a root qdisc as ours; the kernel's default has `0:`.
const OURS: &str = "b5e:";
/// Packets that may wait, in all and for each flow: fq's own 100 for a flow would be losses instead of a delay.
const LIMIT: &str = "100000";
/// What `tc` says about an interface that is gone.
const NO_DEVICE: [&str; 2] = ["Cannot find device", "does not exist"];

/// fq at the root of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fq {
    /// The interface.
    pub dev: String,
}

/// What `tc -j qdisc show` says about a qdisc.
#[derive(Debug, Deserialize)]
pub(super) struct Qdisc {
    pub(super) kind: String,
    #[serde(default)]
    handle: String,
    #[serde(default)]
    root: bool,
}

/// The qdiscs of an interface.
pub(super) fn qdiscs(dev: &str) -> Result<Vec<Qdisc>, ChangeError> {
    let text = command::run("tc", &["-j", "qdisc", "show", "dev", dev])?;
    parse(&text).ok_or_else(|| {
        ChangeError::refused(
            "dev",
            dev,
            format!("an interface whose qdiscs `tc -j` can show, not {text:?}"),
        )
    })
}

fn parse(text: &str) -> Option<Vec<Qdisc>> {
    serde_json::from_str(text.trim()).ok()
}

/// Whether an error says that the interface is gone, and its qdiscs with it.
pub(super) fn is_gone(error: &ChangeError) -> bool {
    matches!(error, ChangeError::Command(error) if error.says(&NO_DEVICE))
}

/// The root qdisc, if it is neither the kernel's default nor ours.
fn foreign(qdiscs: &[Qdisc]) -> Option<&Qdisc> {
    qdiscs
        .iter()
        .find(|qdisc| qdisc.root && qdisc.handle != "0:" && qdisc.handle != OURS)
}

fn is_ours(qdiscs: &[Qdisc]) -> bool {
    qdiscs
        .iter()
        .any(|qdisc| qdisc.root && qdisc.handle == OURS)
}

impl Fq {
    pub(crate) fn prepare(self) -> Result<Self, ChangeError> {
        check_name("dev", &self.dev, 15)?;
        if let Some(foreign) = foreign(&qdiscs(&self.dev)?) {
            return Err(ChangeError::refused(
                "dev",
                &self.dev,
                format!(
                    "its root qdisc was configured by somebody ({} {}) and is left alone; an interface with the kernel's default qdisc would do, or `tc qdisc del dev {} root`",
                    foreign.kind, foreign.handle, self.dev
                ),
            ));
        }
        Ok(self)
    }

    /// Replaces the kernel's default root qdisc by fq.
    pub fn apply(&self) -> Result<(), ChangeError> {
        if is_ours(&qdiscs(&self.dev)?) {
            return Ok(());
        }
        command::run(
            "tc",
            &[
                "qdisc",
                "replace",
                "dev",
                &self.dev,
                "root",
                "handle",
                OURS,
                "fq",
                "limit",
                LIMIT,
                "flow_limit",
                LIMIT,
            ],
        )?;
        Ok(())
    }

    /// Deletes fq if it is ours.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match qdiscs(&self.dev) {
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(qdiscs) if !is_ours(&qdiscs) => Ok(()),
            Ok(_) => {
                command::run("tc", &["qdisc", "del", "dev", &self.dev, "root"])?;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_qdisc_is_taken_and_a_configured_one_is_not() {
        let default = r#"[{"kind":"mq","handle":"0:","root":true,"options":{}},{"kind":"pfifo_fast","handle":"0:","parent":":1","options":{}}]"#;
        assert!(foreign(&parse(default).unwrap()).is_none());
        let configured = r#"[{"kind":"htb","handle":"1:","root":true,"options":{}},{"kind":"clsact","handle":"ffff:","parent":"ffff:fff1"}]"#;
        assert_eq!(foreign(&parse(configured).unwrap()).unwrap().kind, "htb");
        let ours = r#"[{"kind":"fq","handle":"b5e:","root":true,"options":{}}]"#;
        let ours = parse(ours).unwrap();
        assert!(foreign(&ours).is_none() && is_ours(&ours));
        let an_administrators = r#"[{"kind":"fq","handle":"8001:","root":true,"options":{}}]"#;
        assert!(foreign(&parse(an_administrators).unwrap()).is_some());
    }

    #[test]
    fn an_interface_that_is_gone_has_nothing_to_undo() {
        let fq = Fq {
            dev: "obs-none0".to_owned(),
        };
        fq.revert().unwrap();
        assert!(is_gone(&fq.prepare().unwrap_err()));
    }
}

//! What surrounds every test: the repair of the lab afterwards, and logs when it fails.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use anyhow::{Result, anyhow};
use libtest_mimic::{Failed, Trial};

use crate::{command, lab};

/// The test that left a lab behind that can't be put back in order: what comes after it would only wait.
static BROKEN_BY: OnceLock<String> = OnceLock::new();

/// A test; its name is the sentence that holds when it passes.
pub(crate) fn test(name: &str, body: fn() -> Result<()>) -> Trial {
    let broken_by = name.to_owned();
    Trial::test(name, move || {
        if let Some(test) = BROKEN_BY.get() {
            return Err(Failed::from(format!("not run: {test} has broken the lab")));
        }
        let outcome = catch_unwind(AssertUnwindSafe(body))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", text_of(&*panic))));
        // Before the repair: it restarts units, and their logs would hide what happened.
        let logs = if outcome.is_err() {
            logs()
        } else {
            String::new()
        };
        let repaired = lab::repair();
        if repaired.is_err() {
            BROKEN_BY.get_or_init(|| broken_by);
        }
        match (outcome, repaired) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) => Err(Failed::from(format!(
                "the lab could not be put back in order: {error:#}\n{}",
                self::logs()
            ))),
            (Err(error), Ok(())) => Err(Failed::from(format!("{error:#}\n{logs}"))),
            (Err(error), Err(more)) => Err(Failed::from(format!(
                "{error:#}\n{logs}\nand the lab could not be put back in order: {more:#}"
            ))),
        }
    })
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// The ends of the units' journals and of the kernel's log.
fn logs() -> String {
    let mut text = String::new();
    let commands: [&[&str]; 4] = [
        &[
            "systemctl",
            "--no-pager",
            "--all",
            "list-units",
            "observastack*",
        ],
        &[lab::CTL, "faults"],
        &[
            "journalctl",
            "--no-pager",
            "--lines=80",
            "--output=short-precise",
            "--unit=observastack*",
        ],
        &["sh", "-c", "dmesg | tail -n 10"],
    ];
    for words in commands {
        let said = command::run(words).map_or_else(
            |error| format!("{error:#}"),
            |ran| format!("{}{}", ran.stdout, ran.stderr),
        );
        text.push_str(&format!("---- {}\n{said}", words.join(" ")));
    }
    text
}

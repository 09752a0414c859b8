//! What surrounds every test: the repair of the lab afterwards, and logs when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use libtest_mimic::{Failed, Trial};

use crate::{command, lab};

/// A test; its name is the sentence that holds when it passes.
pub(crate) fn test(name: &str, body: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || {
        let outcome = catch_unwind(AssertUnwindSafe(body))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", text_of(&*panic))));
        // Before the repair: it restarts units, and their logs would hide what happened.
        let logs = if outcome.is_err() {
            logs()
        } else {
            String::new()
        };
        let repaired = lab::repair();
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

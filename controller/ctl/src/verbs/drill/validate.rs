//! `drill validate`: is it a scenario?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{folder, lines, read};
use crate::{failure::Failure, output};

/// Check scenarios: every field, every name that one part has from another, and that the reference solution's diagnosis is the right answer.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Validate {
    /// Their folders, or one of the files in each.
    #[arg(value_name = "FOLDER", required = true)]
    scenarios: Vec<PathBuf>,
}

/// Says what is wrong in each.
pub(super) fn run(validate: &Validate, json: bool) -> Result<ExitCode, Failure> {
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    for path in &validate.scenarios {
        let folder = folder(path);
        match read(&folder)? {
            Ok(scenario) => {
                let (id, version) = (&*scenario.brief.id, *scenario.brief.version);
                told.push(json!({"folder": folder, "id": id, "version": version, "errors": []}));
                if !json {
                    output::line(format!(
                        "{}: {id}, version {version}: valid",
                        folder.display()
                    ));
                }
            }
            Err(errors) => {
                let listed: Vec<_> = errors
                    .iter()
                    .map(|one| {
                        json!({
                            "file": one.part.file_name(),
                            "line": one.error.line,
                            "column": one.error.column,
                            "reason": one.error.reason,
                        })
                    })
                    .collect();
                told.push(json!({"folder": folder, "errors": listed}));
                wrong.push(lines(&folder, &errors));
            }
        }
    }
    if json {
        output::json(&told);
    } else if !wrong.is_empty() {
        return Err(Failure::Usage(wrong.join("\n")));
    }
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

//! `drill`: drills, as their authors make them.

mod new;
mod plan;
mod schema;
mod validate;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use observastack_spec::scenario::{Part, Scenario, ScenarioError};

use crate::failure::Failure;

/// Make drills: begin one from a template, check it, see what it would do.
#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Wish {
    New(new::New),
    Validate(validate::Validate),
    Plan(plan::Plan),
    Schema(schema::Schema),
}

/// Does what was wished.
pub(crate) fn run(drill: &Drill, json: bool) -> Result<ExitCode, Failure> {
    match &drill.wish {
        Wish::New(new) => new::run(new, json),
        Wish::Validate(validate) => validate::run(validate, json),
        Wish::Plan(plan) => plan::run(plan, json),
        Wish::Schema(schema) => Ok(schema::run(schema)),
    }
}

/// A scenario's folder: the one that was named, or that of the file that was.
fn folder(path: &Path) -> PathBuf {
    let is_part = [Part::Brief, Part::Sealed].iter().any(|part| {
        path.file_name()
            .is_some_and(|name| name == part.file_name())
    });
    if is_part {
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_owned()
        }
    } else {
        path.to_owned()
    }
}

/// Both files of a scenario; what is wrong in them is no failure of the reading.
fn read(folder: &Path) -> Result<Result<Scenario, Vec<ScenarioError>>, Failure> {
    let text = |part: Part| {
        let file = folder.join(part.file_name());
        fs::read_to_string(&file).map_err(|error| {
            Failure::Usage(format!(
                "{}: {error}; a scenario is a folder with {} and {}",
                file.display(),
                Part::Brief.file_name(),
                Part::Sealed.file_name()
            ))
        })
    };
    Ok(Scenario::read(&text(Part::Brief)?, &text(Part::Sealed)?))
}

/// What is wrong, a line each, with the file's path.
fn lines(folder: &Path, errors: &[ScenarioError]) -> String {
    let line = |one: &ScenarioError| {
        let file = folder.join(one.part.file_name());
        format!(
            "{}:{}:{}: {}",
            file.display(),
            one.error.line,
            one.error.column,
            one.error.reason
        )
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_drill_can_be_checked_and_planned_and_is_not_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let new = || new::New {
            id: "a-drill".to_owned(),
            parent: parent.path().to_owned(),
        };
        new::run(&new(), true).unwrap();
        let folder = parent.path().join("a-drill");
        assert!(read(&folder).unwrap().is_ok());
        assert!(matches!(new::run(&new(), true), Err(Failure::Io { .. })));
        let sealed = folder.join("sealed.yaml");
        let text = fs::read_to_string(&sealed).unwrap();
        fs::write(&sealed, text.replace("hold: 30s", "hold: 1s")).unwrap();
        let errors = read(&folder).unwrap().unwrap_err();
        let told = lines(&folder, &errors);
        assert!(
            told.starts_with(&format!("{}:", sealed.display())) && told.contains(":9: hold: `1s`"),
            "{told}"
        );
        fs::remove_file(&sealed).unwrap();
        let error = read(&folder).unwrap_err().to_string();
        assert!(error.contains("scenario.yaml and sealed.yaml"), "{error}");
    }

    #[test]
    fn a_scenario_is_named_by_its_folder_or_by_one_of_its_files() {
        for (path, is) in [
            ("drills/a", "drills/a"),
            ("drills/a/scenario.yaml", "drills/a"),
            ("drills/a/sealed.yaml", "drills/a"),
            ("sealed.yaml", "."),
        ] {
            assert_eq!(folder(Path::new(path)), Path::new(is));
        }
    }
}

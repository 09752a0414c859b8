//! `drill`: drills, as learners take them and as their authors make them.

mod controller;
mod csv;
mod diagnose;
mod export;
mod going;
mod list;
mod new;
mod path;
mod plan;
mod prove;
mod report;
mod run;
mod schema;
mod validate;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use observastack_spec::scenario::{Part, Scenario, ScenarioError};

pub(crate) use self::{
    controller::Asking,
    diagnose::diagnosis,
    going::{entries, next_hint},
    list::{drill, drills},
};
use crate::failure::Failure;

/// Where the package has its scenarios.
const SCENARIOS: &str = "/usr/lib/observastack/scenarios";

/// Take drills: incidents that are repeatable and judged; and make them.
#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// List the drills.
    List,
    /// Show the drills in the order in which they are learned, and which were passed.
    Path,
    Show(list::Show),
    Start(going::Start),
    /// Show how the run stands, and what happened so far.
    Status,
    /// Take the next hint, which costs a part of the score.
    Hint,
    Diagnose(diagnose::Diagnose),
    /// Say that it is repaired: it has to hold then, under load.
    Submit,
    /// End it, and be told.
    GiveUp,
    /// End whatever goes on, unscored, and bring the lab back (instructors).
    Abort,
    /// Bring the lab back, once the report was read.
    Reset,
    Report(report::Report),
    /// List the last runs and their scores.
    History,
    Export(export::Export),
    Run(run::Headless),
    Prove(prove::Prove),
    New(new::New),
    Validate(validate::Validate),
    Plan(plan::Plan),
    Schema(schema::Schema),
}

/// Does what was wished.
pub(crate) async fn run(drill: &Drill, json: bool) -> Result<ExitCode, Failure> {
    let controller = || drill.asking.controller();
    match &drill.wish {
        Wish::List => list::list(&controller()?, json).await,
        Wish::Path => path::run(&controller()?, json).await,
        Wish::Show(show) => list::show(show, &controller()?, json).await,
        Wish::Start(start) => going::start(start, &controller()?, json).await,
        Wish::Status => going::status(&controller()?, json).await,
        Wish::Hint => going::hint(&controller()?, json).await,
        Wish::Diagnose(diagnose) => diagnose::run(diagnose, &controller()?, json).await,
        Wish::Submit => going::submit(&controller()?, json).await,
        Wish::GiveUp => going::say("/api/run/give-up", &controller()?, json).await,
        Wish::Abort => going::say("/api/run/abort", &controller()?, json).await,
        Wish::Reset => going::say("/api/run/reset", &controller()?, json).await,
        Wish::Report(report) => report::report(report, &controller()?, json).await,
        Wish::History => report::history(&controller()?, json).await,
        Wish::Export(export) => export::run(export, &controller()?, json).await,
        Wish::Run(headless) => run::run(headless, &controller()?, json).await,
        Wish::Prove(prove) => prove::run(prove, &controller()?, json).await,
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

/// A scenario, which has to be one.
fn scenario(folder: &Path) -> Result<Scenario, Failure> {
    read(folder)?.map_err(|errors| Failure::Usage(lines(folder, &errors)))
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

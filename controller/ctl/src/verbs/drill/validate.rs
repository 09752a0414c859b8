//! `drill validate`: is it a scenario, and do its prerequisites lead anywhere?

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use observastack_spec::scenario::{Brief, Part, Scenario, ScenarioError, path, read_brief};
use serde_json::json;

use super::{SCENARIOS, folder, lines, read};
use crate::{failure::Failure, output};

/// Check scenarios: every field, every name that one part has from another, prerequisites, and that the reference solution's diagnosis is the right answer.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Validate {
    /// Their folders, or one of the files in each, or a folder of such folders.
    #[arg(value_name = "FOLDER", required = true)]
    given: Vec<PathBuf>,
    /// Where drills are that prerequisites can name, beside those in the same folder.
    #[arg(long, value_name = "FOLDER", default_values = [SCENARIOS, "/etc/observastack/scenarios"])]
    scenarios: Vec<PathBuf>,
}

/// Says what is wrong in each.
pub(super) fn run(validate: &Validate, json: bool) -> Result<ExitCode, Failure> {
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    for (folder, read) in checked(validate)? {
        match read {
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

type Checked = (PathBuf, Result<Scenario, Vec<ScenarioError>>);

/// Each scenario that was given, as it is, or what is wrong with it.
fn checked(validate: &Validate) -> Result<Vec<Checked>, Failure> {
    let mut all = Vec::new();
    for folder in validate.given.iter().flat_map(|given| each(given)) {
        let read = read(&folder)?;
        all.push((folder, read));
    }
    let (others, known) = others(validate, all.iter().map(|(folder, _)| folder.as_path()));
    let given: Vec<Brief> = all
        .iter()
        .filter_map(|(_, read)| Some(read.as_ref().ok()?.brief.clone()))
        .collect();
    for (_, read) in &mut all {
        let Ok(scenario) = read else {
            continue;
        };
        // The later of two with the same name counts, and this one is asked for.
        let briefs = others.iter().chain(&given).chain([&scenario.brief]);
        let id = &scenario.brief.id.value;
        let errors: Vec<_> = path::check(briefs, &known)
            .into_iter()
            .filter(|(of, _)| of == id)
            .map(|(_, error)| ScenarioError {
                part: Part::Brief,
                error,
            })
            .collect();
        if !errors.is_empty() {
            *read = Err(errors);
        }
    }
    Ok(all)
}

/// The scenarios' folders that somebody means with a path.
fn each(given: &Path) -> Vec<PathBuf> {
    let folder = folder(given);
    let has_part = [Part::Brief, Part::Sealed]
        .iter()
        .any(|part| folder.join(part.file_name()).exists());
    let inner = subfolders(&folder);
    if has_part || inner.is_empty() {
        vec![folder]
    } else {
        inner
    }
}

/// Folders in a folder that have a brief, by their names.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    // What cannot be read, or is not there, has none.
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = paths
        // One part alone is a drill as well: one that is not whole.
        .filter(|path| {
            [Part::Brief, Part::Sealed]
                .iter()
                .any(|part| path.join(part.file_name()).is_file())
        })
        .collect();
    folders.sort_unstable();
    folders
}

/// What prerequisites can name: briefs, and names of drills whether their briefs can be read or not.
fn others<'a>(
    validate: &Validate,
    given: impl Iterator<Item = &'a Path>,
) -> (Vec<Brief>, BTreeSet<String>) {
    let beside =
        given.filter_map(|folder| Some(fs::canonicalize(folder).ok()?.parent()?.to_owned()));
    let beside: BTreeSet<PathBuf> = beside.collect();
    let (mut briefs, mut known) = (Vec::new(), BTreeSet::new());
    for folder in validate.scenarios.iter().chain(&beside) {
        for one in subfolders(folder) {
            let name = one.file_name().and_then(|name| name.to_str());
            known.extend(name.map(str::to_owned));
            let text = fs::read_to_string(one.join(Part::Brief.file_name()));
            briefs.extend(text.ok().and_then(|text| read_brief(&text).ok()));
        }
    }
    (briefs, known)
}

#[cfg(test)]
mod tests {
    use observastack_spec::scenario::template;

    use super::*;

    fn write(parent: &Path, id: &str, prerequisites: &str) {
        let files = template::named(id).unwrap();
        let prerequisites = format!("prerequisites: [{prerequisites}]");
        let brief = files.brief.replace("prerequisites: []", &prerequisites);
        fs::create_dir_all(parent.join(id)).unwrap();
        fs::write(parent.join(id).join("scenario.yaml"), brief).unwrap();
        fs::write(parent.join(id).join("sealed.yaml"), files.sealed).unwrap();
    }

    fn reasons(given: PathBuf, scenarios: &Path) -> Vec<String> {
        let validate = Validate {
            given: vec![given],
            scenarios: vec![scenarios.to_owned()],
        };
        let all = checked(&validate).unwrap();
        let wrong = all.iter().filter_map(|(_, read)| read.as_ref().err());
        wrong.flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn prerequisites_are_looked_for_beside_it_and_where_drills_are() {
        let (own, package) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(package.path(), "far", "");
        write(own.path(), "near", "");
        write(own.path(), "good", "near, far");
        write(own.path(), "lost", "good, nowhere");
        write(own.path(), "round", "about");
        write(own.path(), "about", "round");
        let of = |folder: &str| reasons(own.path().join(folder), package.path());
        assert_eq!(of("good"), [""; 0]);
        assert_eq!(of("good/scenario.yaml"), [""; 0]);
        let lost = of("lost");
        assert!(
            lost[0].starts_with(
                "scenario.yaml: line 14, column 23: prerequisites: there is no drill `nowhere`"
            ),
            "{lost:?}"
        );
        assert!(of("round")[0].contains("needs this drill itself"));
        // All of them at once.
        assert_eq!(reasons(own.path().to_owned(), package.path()).len(), 3);
        // Not installed: then what is far is nowhere.
        let nowhere = Path::new("/nonexistent");
        assert!(reasons(own.path().join("good"), nowhere)[0].contains("no drill `far`"));
    }
}

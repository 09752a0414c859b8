//! Scenarios that are there: a folder of folders, each with both files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use observastack_spec::scenario::{Part, Scenario};

use crate::runner::Library;

/// A folder that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub folder: PathBuf,
    /// Why, a line each.
    pub reasons: Vec<String>,
}

/// Every scenario of these folders, and what is none. Of two with the same id, the later folder's counts: an administrator's own goes before the
/// package's. A folder that is not there has none.
#[must_use]
pub fn read(folders: &[PathBuf]) -> (Library, Vec<Left>) {
    let (mut library, mut left) = (Library::new(), Vec::new());
    for folder in folders {
        for one in subfolders(folder) {
            match scenario(&one) {
                Ok(scenario) => {
                    library.insert(scenario.brief.id.value.clone(), Arc::new(scenario));
                }
                Err(reasons) => left.push(Left {
                    folder: one,
                    reasons,
                }),
            }
        }
    }
    (library, left)
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let folders = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.sort_unstable();
    folders
}

fn scenario(folder: &Path) -> Result<Scenario, Vec<String>> {
    let text = |part: Part| {
        let file = folder.join(part.file_name());
        fs::read_to_string(&file).map_err(|error| vec![format!("{}: {error}", part.file_name())])
    };
    let read = Scenario::read(&text(Part::Brief)?, &text(Part::Sealed)?);
    let scenario = read.map_err(|errors| {
        let lines = errors.iter().map(ToString::to_string);
        lines.collect::<Vec<_>>()
    })?;
    let name = folder.file_name().and_then(|name| name.to_str());
    if name != Some(scenario.brief.id.as_str()) {
        return Err(vec![format!(
            "the folder is not called `{}`, as the drill is",
            *scenario.brief.id
        )]);
    }
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use observastack_spec::scenario::template;

    use super::*;

    fn write(parent: &Path, folder: &str, id: &str, minutes: &str) {
        let folder = parent.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let files = template::named(id).unwrap();
        let brief = files.brief.replace("minutes: 30", minutes);
        fs::write(folder.join("scenario.yaml"), brief).unwrap();
        fs::write(folder.join("sealed.yaml"), files.sealed).unwrap();
    }

    #[test]
    fn an_administrators_own_goes_before_the_packages_and_what_is_none_is_told() {
        let (package, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(package.path(), "a-drill", "a-drill", "minutes: 30");
        write(package.path(), "other", "b-drill", "minutes: 30");
        write(package.path(), "broken", "broken", "minutes: 3");
        write(own.path(), "a-drill", "a-drill", "minutes: 45");
        fs::create_dir(own.path().join("empty")).unwrap();
        let folders = [
            package.path().to_owned(),
            own.path().to_owned(),
            PathBuf::from("/nonexistent"),
        ];
        let (library, left) = read(&folders);
        assert_eq!(library.len(), 1);
        assert_eq!(library["a-drill"].brief.minutes.value, 45);
        let told: Vec<String> = left.iter().map(|one| one.reasons.join("; ")).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        for part in [
            "minutes: 3 is not allowed",
            "is not called `b-drill`",
            "scenario.yaml: No such file",
        ] {
            assert!(
                told.iter().any(|told| told.contains(part)),
                "{part}: {told:?}"
            );
        }
    }
}

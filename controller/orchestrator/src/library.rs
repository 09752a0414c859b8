//! Scenarios that are there: a folder of folders, each with both files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use observastack_spec::scenario::{Part, Scenario, ScenarioError, path};

use crate::runner::Library;

/// A folder with something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which.
    pub folder: PathBuf,
    /// What, a line each.
    pub reasons: Vec<String>,
    /// Whether it is a drill all the same: prerequisites only tell an order, and somebody who has changed one drill takes no other one away.
    pub is_used: bool,
}

/// Every scenario of these folders, and what is wrong with them. Of two with the same id, the later folder's counts: an administrator's own goes before the
/// package's. A folder that is not there has none.
#[must_use]
pub fn read(folders: &[PathBuf]) -> (Library, Vec<Wrong>) {
    let (mut counting, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut named = BTreeSet::new();
    for folder in folders.iter().flat_map(|folder| subfolders(folder)) {
        // What has a folder is a drill, if it can be read or not.
        named.extend(
            folder
                .file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned),
        );
        match scenario(&folder) {
            Ok(scenario) => {
                counting.insert(
                    scenario.brief.id.value.clone(),
                    (folder, Arc::new(scenario)),
                );
            }
            Err(reasons) => wrong.push(Wrong {
                folder,
                reasons,
                is_used: false,
            }),
        }
    }
    let briefs = counting.values().map(|(_, scenario)| &scenario.brief);
    let mut order: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for (id, error) in path::check(briefs, &named) {
        if let Some((folder, _)) = counting.get(&id) {
            let part = Part::Brief;
            let error = ScenarioError { part, error }.to_string();
            order.entry(folder).or_default().push(error);
        }
    }
    wrong.extend(order.into_iter().map(|(folder, reasons)| Wrong {
        folder: folder.to_owned(),
        reasons,
        is_used: true,
    }));
    let only = |(id, (_, scenario))| (id, scenario);
    (counting.into_iter().map(only).collect(), wrong)
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

    #[test]
    fn prerequisites_that_are_no_drills_or_go_round_in_a_circle_are_told() {
        let (package, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let after = |parent: &Path, id: &str, prerequisites: &str| {
            write(parent, id, id, "minutes: 30");
            let file = parent.join(id).join("scenario.yaml");
            let text = fs::read_to_string(&file).unwrap();
            let prerequisites = format!("prerequisites: [{prerequisites}]");
            fs::write(&file, text.replace("prerequisites: []", &prerequisites)).unwrap();
        };
        after(package.path(), "first", "");
        after(package.path(), "second", "first");
        after(package.path(), "broken", "");
        fs::write(package.path().join("broken/sealed.yaml"), "").unwrap();
        after(package.path(), "third", "broken");
        after(own.path(), "lost", "nowhere");
        after(own.path(), "one", "other");
        after(own.path(), "other", "one");
        let folders = [package.path().to_owned(), own.path().to_owned()];
        let (library, left) = read(&folders);
        assert_eq!(
            library.keys().collect::<Vec<_>>(),
            ["first", "lost", "one", "other", "second", "third"],
            "they are drills all the same"
        );
        let told = |name: &str| {
            let left = left.iter().find(|one| one.folder == own.path().join(name));
            left.unwrap().reasons.join("; ")
        };
        for (name, part) in [
            (
                "lost",
                "no drill `nowhere`; there are broken, first, one, other, second, third",
            ),
            ("one", "`other` needs this drill itself"),
            ("other", "`one` needs this drill itself"),
        ] {
            let told = told(name);
            assert!(
                told.starts_with("scenario.yaml: line ") && told.contains(part),
                "{name}: {told}"
            );
        }
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(left.iter().filter(|one| one.is_used).count(), 3);
    }

    #[test]
    fn the_drills_that_come_with_the_lab_have_a_path() {
        let scenarios = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let (library, left) = read(&[PathBuf::from(scenarios)]);
        assert!(left.is_empty(), "{left:?}");
        let order = path::order(library.values().map(|scenario| &scenario.brief));
        assert_eq!(order.len(), library.len());
        assert_eq!(order[..2], ["cpu-regression", "db-pool-exhaustion"]);
    }
}

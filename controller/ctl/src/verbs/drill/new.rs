//! `drill new`: a scenario to begin with.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;
use observastack_spec::scenario::{
    Part,
    template::{self, NotAName},
};
use serde_json::json;

use crate::{failure::Failure, output};

/// Begin a drill: a folder with both files, which can be checked and planned as it is.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name: small letters, digits and hyphens.
    pub(super) id: String,
    /// The folder in which its own is made.
    #[arg(long = "in", value_name = "FOLDER", default_value = ".")]
    pub(super) parent: PathBuf,
}

/// Writes the files; nothing that is there is touched.
pub(super) fn run(new: &New, json: bool) -> Result<ExitCode, Failure> {
    let files = template::named(&new.id).map_err(|NotAName| {
        Failure::Usage(format!(
            "`{}` is no drill's name; use small letters, digits and single hyphens, 40 at most",
            new.id
        ))
    })?;
    let folder = new.parent.join(&new.id);
    let failed = |what: String| move |source| Failure::Io { what, source };
    // Made here and not found: whatever is in one that was there is somebody's.
    fs::create_dir(&folder).map_err(failed(format!("cannot make {}", folder.display())))?;
    for (part, text) in [(Part::Brief, files.brief), (Part::Sealed, files.sealed)] {
        let file = folder.join(part.file_name());
        fs::write(&file, text).map_err(failed(format!("cannot write {}", file.display())))?;
    }
    if json {
        output::json(&json!({"id": new.id, "folder": folder}));
    } else {
        output::line(format!(
            "{} has {} and {}; next:\n  observastack-ctl drill validate {0}\n  observastack-ctl drill plan {0}",
            folder.display(),
            Part::Brief.file_name(),
            Part::Sealed.file_name()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

//! `inject -f`: a set of faults from a file.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use hyper::Method;
use observastack_spec::{
    api::{DryRun, FaultList, SetRequest},
    file::{self, MAX_FILE},
};

use super::show;
use crate::{client::Client, failure::Failure, output, verbs::faults};

/// Injects all of the file's faults, or none.
pub(super) async fn run(
    path: &Path,
    dry_run: bool,
    injector: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let text = text_of(path)?;
    let set = SetRequest {
        faults: file::read(&text).map_err(|errors| {
            let lines = errors
                .iter()
                .map(|error| format!("{}: {error}", path.display()));
            Failure::Usage(lines.collect::<Vec<_>>().join("\n"))
        })?,
    };
    if dry_run {
        let answers: Vec<DryRun> = injector
            .ask(Method::POST, "/fault-sets?dry-run=1", Some(&set))
            .await?;
        if json {
            output::json(&answers);
        } else {
            let words: Vec<_> = answers.iter().map(show::dry_run).collect();
            output::line(words.join("\n\n"));
        }
        return Ok(show::exit_code(&answers));
    }
    let list: FaultList = injector
        .ask(Method::POST, "/fault-sets", Some(&set))
        .await?;
    if json {
        output::json(&list);
    } else {
        output::line(faults::table(&list.faults));
    }
    Ok(ExitCode::SUCCESS)
}

/// The file's text, of which no more is read than can be right.
fn text_of(path: &Path) -> Result<String, Failure> {
    let limit = u64::try_from(MAX_FILE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(limit).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(Failure::Io {
            what: format!("cannot read {}", path.display()),
            source,
        }),
    }
}

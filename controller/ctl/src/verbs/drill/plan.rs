//! `drill plan`: what would happen, and when.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use observastack_spec::scenario::plan;

use super::{folder, lines, read};
use crate::{failure::Failure, output};

/// Show what a drill would do, as a timeline; nothing is done.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Plan {
    /// Its folder, or one of the files in it.
    #[arg(value_name = "FOLDER")]
    scenario: PathBuf,
    /// What repeats the same plan.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Prints the timeline.
pub(super) fn run(wish: &Plan, json: bool) -> Result<ExitCode, Failure> {
    let folder = folder(&wish.scenario);
    let scenario = read(&folder)?.map_err(|errors| Failure::Usage(lines(&folder, &errors)))?;
    let made = plan::plan(&scenario, wish.seed);
    if json {
        output::json(&made);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format!(
        "{}, version {}, seed {}, {} minutes\nbefore: load {}, until {} hold\n\n{made}\n\nbroken once {} hold, within {}; repaired once {} hold for {}",
        *scenario.brief.id,
        *scenario.brief.version,
        wish.seed,
        *scenario.brief.minutes,
        *scenario.sealed.load.shape,
        checks(scenario.sealed.baseline.len()),
        checks(scenario.sealed.broken.that.len()),
        scenario.sealed.broken.within,
        checks(scenario.sealed.repaired.that.len()),
        scenario.sealed.repaired.hold.value,
    ));
    Ok(ExitCode::SUCCESS)
}

fn checks(count: usize) -> String {
    match count {
        1 => "1 check".to_owned(),
        count => format!("{count} checks"),
    }
}

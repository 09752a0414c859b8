//! `profile`: where a unit spends its time.
//!
//! - [`tree`]: functions and what they weigh; [`flame`]: the same as a picture.

mod flame;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use form_urlencoded::Serializer;
use hyper::Method;
use observastack_spec::profile::{ProfileOf, ProfileReport};
use serde::{Deserialize, Serialize};

use self::tree::{Frame, folded, functions};
use super::counting::{escaped, known, read};
use crate::{
    client::Client,
    collector::{Between, Collector, Query, short, unit},
    failure::Failure,
    output,
};

/// Show where a unit spends its CPU time: its functions, merged from the profiles of some time that the collector has kept.
///
/// With --for, the kernel looks now, for so long: the program's stacks and the kernel's of every task of the unit, whatever it is
/// written in, or, with --off-cpu, where they sleep. That writes a flame graph.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Profile {
    /// The unit, such as api@1.
    #[arg(value_name = "UNIT", required_unless_present = "named")]
    unit: Option<String>,
    /// The unit.
    #[arg(
        long = "unit",
        id = "named",
        value_name = "UNIT",
        conflicts_with = "unit"
    )]
    named: Option<String>,
    #[command(flatten)]
    between: Between,
    /// Which of the kept profiles: process_cpu is what a service tells of itself, kernel_cpu and kernel_off_cpu what was taken with --for.
    #[arg(long, default_value = "process_cpu")]
    kind: String,
    /// Have the kernel look now, for so long.
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        conflicts_with_all = ["since", "until", "kind"]
    )]
    length: Option<Duration>,
    /// Where tasks sleep, instead of where they use a CPU.
    #[arg(long, requires = "length")]
    off_cpu: bool,
    /// How often a second each CPU is looked at [default: 49].
    #[arg(
        long,
        value_name = "N",
        requires = "length",
        conflicts_with = "off_cpu"
    )]
    hz: Option<u64>,
    /// Where the flame graph goes; with --for, a file of its own in this directory if left out.
    #[arg(long, short, value_name = "FILE.svg")]
    output: Option<PathBuf>,
    /// The functions that use most.
    #[arg(long, value_name = "N", default_value_t = 25)]
    top: usize,
    /// One line per stack with its weight, as flame graph programs read them.
    #[arg(long, conflicts_with = "top")]
    folded: bool,
}

/// A flame graph as the collector tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Graph {
    profiles: usize,
    unreadable: usize,
    sample_type: String,
    unit: String,
    root: Frame,
}

/// Prints the functions, or the stacks, and draws them.
pub(crate) async fn run(
    profile: &Profile,
    collector: &Collector,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let Some(name) = profile.unit.as_deref().or(profile.named.as_deref()) else {
        return Err(Failure::Usage("which unit? such as api@1".to_owned()));
    };
    match profile.length {
        Some(length) => live(profile, name, length, observer, json).await?,
        None => kept(profile, name, collector, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the collector has kept.
async fn kept(
    profile: &Profile,
    name: &str,
    collector: &Collector,
    json: bool,
) -> Result<(), Failure> {
    let name = unit(name);
    let service = name.strip_suffix(".service").unwrap_or(&name);
    let query = Query::default()
        .with("service", Some(service))
        .with("kind", Some(&profile.kind))
        .with("limit", Some(1_000))
        .between(&profile.between);
    let graph: Graph = collector.ask("/api/flamegraph", &query).await?;
    if graph.profiles > 0
        && let Some(file) = &profile.output
    {
        let title = format!("{} of {service}", graph.sample_type);
        let of = if profile.kind == ProfileOf::OffCpu.kind() {
            ProfileOf::OffCpu
        } else {
            ProfileOf::Cpu
        };
        draw(file, &title, &graph.root, &graph.unit, of)?;
    }
    if json {
        output::json(&graph);
        return Ok(());
    }
    if graph.profiles == 0 {
        output::line(format!(
            "no profiles of {service} of the kind {} in this time",
            profile.kind
        ));
        return Ok(());
    }
    if profile.folded {
        output::line(folded(&graph.root).join("\n"));
        return Ok(());
    }
    output::line(format!(
        "{} profiles of {service}, {} in {}",
        graph.profiles,
        weight(graph.root.total, &graph.unit),
        graph.sample_type
    ));
    if graph.unreadable > 0 {
        output::line(format!("{} more could not be read", graph.unreadable));
    }
    output::line(format!("\n{}", top(&graph.root, &graph.unit, profile.top)));
    Ok(())
}

/// What the kernel sees now.
async fn live(
    profile: &Profile,
    name: &str,
    length: Duration,
    observer: &Client,
    json: bool,
) -> Result<(), Failure> {
    let unit = known(&read(observer).await?, name)?;
    let of = if profile.off_cpu {
        ProfileOf::OffCpu
    } else {
        ProfileOf::Cpu
    };
    let mut query = Serializer::new(String::new());
    query
        .append_pair("of", of.name())
        .append_pair("seconds", &length.as_secs_f64().to_string());
    if let Some(hz) = profile.hz {
        query.append_pair("hz", &hz.to_string());
    }
    let path = format!("/v1/profile/{}?{}", escaped(&unit), query.finish());
    // Names of functions take their time on a slow machine.
    let patient = observer
        .clone()
        .patient_for(length + Duration::from_secs(60));
    let report: ProfileReport = patient.ask(Method::GET, &path, None::<&()>).await?;
    let root = Frame::of(&report);
    let written = match &profile.output {
        Some(file) => Some(file.clone()),
        None if json || profile.folded || root.total == 0 => None,
        None => Some(file_name(&unit, of, SystemTime::now())),
    };
    if let Some(file) = &written {
        let title = format!("{} for {} s: {}", short(&unit), report.seconds, about(of));
        draw(file, &title, &root, "nanoseconds", of)?;
    }
    if json {
        output::json(&report);
        return Ok(());
    }
    if profile.folded {
        output::line(folded(&root).join("\n"));
        return Ok(());
    }
    let count: u64 = report.stacks.iter().map(|stack| stack.count).sum();
    output::line(format!(
        "{} for {:.1} s: {} {}, {count} {}",
        report.unit,
        report.seconds,
        weight(root.total, "nanoseconds"),
        about(of),
        match of {
            ProfileOf::Cpu => "samples",
            ProfileOf::OffCpu => "sleeps",
        }
    ));
    for note in &report.notes {
        output::line(format!("note: {note}"));
    }
    output::line(format!("\n{}", top(&root, "nanoseconds", profile.top)));
    if let Some(file) = written {
        output::line(format!("\nflame graph: {}", file.display()));
    }
    Ok(())
}

fn about(of: ProfileOf) -> &'static str {
    match of {
        ProfileOf::Cpu => "on a CPU",
        ProfileOf::OffCpu => "asleep",
    }
}

/// A name that no earlier profile has.
fn file_name(unit: &str, of: ProfileOf, now: SystemTime) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let time: String = time.chars().filter(|c| *c != ':' && *c != '-').collect();
    // Names of units have no slash; the escapes of systemd are fit for files.
    PathBuf::from(format!("{}-{}-{time}.svg", short(unit), of.name()))
}

fn draw(file: &Path, title: &str, root: &Frame, unit: &str, of: ProfileOf) -> Result<(), Failure> {
    let picture = flame::svg(title, root, of, |value| weight(value, unit));
    std::fs::write(file, picture).map_err(|source| Failure::Io {
        what: format!("cannot write {}", file.display()),
        source,
    })
}

fn weight(value: i64, unit: &str) -> String {
    match unit {
        "nanoseconds" => format!("{:.2} s", value as f64 / 1e9),
        "" => value.to_string(),
        unit => format!("{value} {unit}"),
    }
}

fn top(root: &Frame, unit: &str, count: usize) -> String {
    let share = |value: i64| format!("{:.1} %", value as f64 * 100.0 / root.total.max(1) as f64);
    let rows: Vec<Vec<String>> = functions(root)
        .into_iter()
        .take(count)
        .map(|(name, own, total)| {
            vec![
                weight(own, unit),
                share(own),
                weight(total, unit),
                share(total),
                name.to_owned(),
            ]
        })
        .collect();
    output::table(&["SELF", "", "TOTAL", "", "FUNCTION"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_what_it_is() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let name = file_name("observastack-api@1.service", ProfileOf::OffCpu, at);
        assert_eq!(name, Path::new("api@1-off-cpu-20270115T080000Z.svg"));
    }
}

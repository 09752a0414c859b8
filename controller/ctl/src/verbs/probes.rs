//! `probes`: what the observer looks at.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hyper::Method;
use observastack_spec::kernel::{ProbeList, Switch};

use crate::{client::Client, failure::Failure, output};

/// Show the observer's probes, and switch them on and off.
#[derive(Debug, Args)]
pub(crate) struct Probes {
    #[command(subcommand)]
    wish: Option<Wish>,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Attach a probe's programs.
    On(Named),
    /// Detach them; what they have counted stays.
    Off(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The probe, such as run-queue.
    probe: String,
}

/// Prints how the probes stand, after what was wished.
pub(crate) async fn run(
    probes: &Probes,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let list: ProbeList = match &probes.wish {
        None => observer.ask(Method::GET, "/v1/probes", None::<&()>).await?,
        Some(Wish::On(named)) => switch(observer, &named.probe, true).await?,
        Some(Wish::Off(named)) => switch(observer, &named.probe, false).await?,
    };
    if json {
        output::json(&list);
    } else {
        output::line(text(&list));
    }
    Ok(ExitCode::SUCCESS)
}

async fn switch(observer: &Client, probe: &str, on: bool) -> Result<ProbeList, Failure> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if probe.is_empty() || !probe.chars().all(is_name) {
        return Err(Failure::Usage(format!(
            "`{probe}` is no probe's name: observastack-ctl probes lists them"
        )));
    }
    let path = format!("/v1/probes/{probe}");
    observer.ask(Method::PUT, &path, Some(&Switch { on })).await
}

fn text(list: &ProbeList) -> String {
    let rows: Vec<_> = list
        .probes
        .iter()
        .map(|probe| {
            let state = match (&probe.refusal, probe.on) {
                (Some(_), _) => "not here",
                (None, true) => "on",
                (None, false) => "off",
            };
            let runs: u64 = probe.programs.iter().map(|program| program.runs).sum();
            let time_ns: u64 = probe
                .programs
                .iter()
                .map(|program| program.run_time_ns)
                .sum();
            let mean = time_ns
                .checked_div(runs)
                .map_or_else(String::new, |mean| format!("{mean} ns"));
            let why = probe.refusal.as_ref().unwrap_or(&probe.about);
            vec![probe.name.clone(), state.to_owned(), mean, why.clone()]
        })
        .collect();
    // Filled while the administrator has the kernel count: sysctl kernel.bpf_stats_enabled=1.
    output::table(&["PROBE", "STATE", "A RUN", "ABOUT"], &rows)
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::{ProbeStatus, ProgramRuns};

    use super::*;

    #[test]
    fn a_probe_that_cannot_be_tells_why_and_one_that_ran_what_it_costs() {
        let probe = |name: &str, refusal: Option<&str>, runs| ProbeStatus {
            name: name.to_owned(),
            about: "about".to_owned(),
            on: refusal.is_none(),
            always_on: true,
            refusal: refusal.map(str::to_owned),
            programs: vec![ProgramRuns {
                name: "program".to_owned(),
                runs,
                run_time_ns: runs * 90,
            }],
        };
        let list = ProbeList {
            probes: vec![probe("good", None, 3), probe("bad", Some("no member"), 0)],
        };
        assert_eq!(
            text(&list),
            "PROBE  STATE     A RUN  ABOUT\n\
             good   on        90 ns  about\n\
             bad    not here         no member"
        );
    }
}

//! `doctor`: what this kernel can do.

use std::process::ExitCode;

use hyper::Method;
use observastack_spec::{
    api::{Answer, CapabilityReport},
    kernel::{ProbeList, ProbeStatus},
};
use serde::Serialize;

use crate::{client::Client, failure::Failure, output};

/// What both privileged services say.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    injector: CapabilityReport,
    /// Absent where the observer could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<Vec<ProbeStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observer_error: Option<String>,
}

/// Prints the injector's report and the observer's; exits with 1 where a fault does not work here.
pub(crate) async fn run(
    injector: &Client,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let report: CapabilityReport = injector
        .ask(Method::GET, "/capabilities", None::<&()>)
        .await?;
    let probes = observer
        .ask::<ProbeList>(Method::GET, "/v1/probes", None::<&()>)
        .await;
    let (probes, observer_error) = match probes {
        Ok(list) => (Some(list.probes), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let report = Report {
        injector: report,
        probes,
        observer_error,
    };
    if json {
        output::json(&report);
    } else {
        output::line(text(&report.injector));
        output::line("");
        match (&report.probes, &report.observer_error) {
            (Some(probes), _) => output::line(probes_text(probes)),
            (None, error) => output::line(format!(
                "observer: {}",
                error.as_deref().unwrap_or("not asked")
            )),
        }
    }
    let all_work = report
        .injector
        .faults
        .iter()
        .all(|fault| fault.answer == Answer::Yes);
    Ok(if all_work {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(report: &CapabilityReport) -> String {
    let capabilities = report.capabilities.iter();
    let capabilities: Vec<_> = capabilities
        .map(|capability| {
            vec![
                capability.name.clone(),
                word(capability.answer).to_owned(),
                capability.reason.clone(),
            ]
        })
        .collect();
    let faults = report.faults.iter();
    let faults: Vec<_> = faults
        .map(|fault| {
            let why = if fault.reason.is_empty() {
                format!("needs {}", fault.needs.join(", "))
            } else {
                fault.reason.clone()
            };
            vec![fault.fault.clone(), word(fault.answer).to_owned(), why]
        })
        .collect();
    format!(
        "kernel {}, injector {}\n\n{}\n\n{}",
        report.kernel,
        report.version,
        output::table(&["CAPABILITY", "THERE", "WHY"], &capabilities),
        output::table(&["FAULT", "WORKS", "WHY"], &faults)
    )
}

fn probes_text(probes: &[ProbeStatus]) -> String {
    let rows: Vec<_> = probes
        .iter()
        .map(|probe| {
            let works = if probe.refusal.is_none() { "yes" } else { "no" };
            let why = probe.refusal.as_ref().unwrap_or(&probe.about);
            vec![probe.name.clone(), works.to_owned(), why.clone()]
        })
        .collect();
    output::table(&["PROBE", "WORKS", "WHY"], &rows)
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    }
}

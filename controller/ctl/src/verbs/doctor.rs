//! `doctor`: what this kernel can do.

use std::process::ExitCode;

use hyper::Method;
use observastack_spec::api::{Answer, CapabilityReport};

use crate::{client::Client, failure::Failure, output};

/// Prints the injector's report; exits with 1 where a fault does not work here.
pub(crate) async fn run(injector: &Client, json: bool) -> Result<ExitCode, Failure> {
    let report: CapabilityReport = injector
        .ask(Method::GET, "/capabilities", None::<&()>)
        .await?;
    if json {
        output::json(&report);
    } else {
        output::line(text(&report));
    }
    let all_work = report
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

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    }
}

//! `faults`: list them.

use std::{process::ExitCode, time::Duration};

use hyper::Method;
use observastack_spec::{
    api::{FaultList, FaultState, FaultStatus},
    duration, probability,
};

use crate::{client::Client, failure::Failure, output};

/// Prints active and lately ended faults.
pub(crate) async fn run(injector: &Client, json: bool) -> Result<ExitCode, Failure> {
    let list: FaultList = injector.ask(Method::GET, "/faults", None::<&()>).await?;
    if json {
        output::json(&list);
    } else if list.faults.is_empty() {
        output::line("no faults");
    } else {
        output::line(table(&list.faults));
    }
    Ok(ExitCode::SUCCESS)
}

/// Faults as a table.
pub(crate) fn table(faults: &[FaultStatus]) -> String {
    let header = [
        "ID", "STATE", "UNIT", "FAULT", "WHERE", "SHARE", "LEFT", "MATCHED", "INJECTED", "SKIPPED",
    ];
    output::table(&header, &faults.iter().map(row).collect::<Vec<_>>())
}

fn row(fault: &FaultStatus) -> Vec<String> {
    let state = match fault.state {
        FaultState::Active => "active",
        FaultState::Expired => "expired",
        FaultState::Cleared => "cleared",
        FaultState::Reverted => "reverted",
    };
    let left = match fault.state {
        // Whole seconds are enough for people.
        FaultState::Active => {
            duration::display(Duration::from_secs(fault.remaining_ms.div_ceil(1000)))
        }
        _ => "-".to_owned(),
    };
    let parameters = fault.spec.fault.parameters();
    vec![
        fault.id.to_string(),
        state.to_owned(),
        fault.spec.unit.clone(),
        fault.spec.fault.kind().to_owned(),
        if parameters.is_empty() {
            "-".to_owned()
        } else {
            parameters
        },
        if fault.spec.fault.uses().probability {
            probability::display(fault.spec.probability)
        } else {
            "-".to_owned()
        },
        left,
        fault.counts.matched.to_string(),
        fault.counts.injected.to_string(),
        fault.counts.skipped.to_string(),
    ]
}

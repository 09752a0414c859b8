//! The decisions of a fault that was injected with `--verbose`.

use hyper::Method;
use observastack_spec::api::{Decision, FaultState, FaultStatus};

use crate::{
    client::{Client, Lines},
    failure::Failure,
    output,
};

/// Prints decisions until the fault ends.
pub(super) async fn follow(
    status: &FaultStatus,
    injector: &Client,
    json: bool,
) -> Result<(), Failure> {
    let path = format!("/faults/{}/decisions", status.id);
    let response = injector
        .open(Method::GET, &path, "application/json", Vec::new())
        .await?;
    let mut lines = Lines::of(response.into_body());
    let mut shown = 0;
    while let Some(line) = lines.next().await {
        if let Ok(decision) = serde_json::from_slice::<Decision>(&line) {
            show(&decision, json);
            shown += 1;
        }
    }
    let asked = injector
        .ask::<FaultStatus>(Method::GET, &format!("/faults/{}", status.id), None::<&()>)
        .await;
    let last = match asked {
        Ok(last) => last,
        Err(Failure::NotListening { .. }) => {
            return Err(Failure::Ended(format!(
                "the injector has ended, and fault {} with it",
                status.id
            )));
        }
        Err(failure) => return Err(failure),
    };
    if json {
        output::json_line(&last);
        return Ok(());
    }
    let how = match last.state {
        FaultState::Active => "goes on",
        FaultState::Expired => "expired",
        FaultState::Cleared => "was cleared",
        FaultState::Reverted => "was reverted by a panic",
    };
    let counts = last.counts;
    output::line(format!(
        "fault {} {how}: {} events matched ({shown} shown), {} faulted, {} skipped",
        last.id, counts.matched, counts.injected, counts.skipped
    ));
    Ok(())
}

fn show(decision: &Decision, json: bool) {
    if json {
        output::json_line(decision);
        return;
    }
    let port = if decision.port == 0 {
        String::new()
    } else {
        format!(" port {}", decision.port)
    };
    let fate = if decision.faulted {
        "faulted"
    } else {
        "left alone"
    };
    output::line(format!(
        "fault {}: {} {}{port}: {fate}",
        decision.fault, decision.event, decision.n
    ));
}

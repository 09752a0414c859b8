//! `inject`: break a unit.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use http_body_util::BodyExt;
use hyper::Method;
use observastack_spec::{
    api::{Decision, FaultState, FaultStatus},
    duration,
    fault::{FaultParameters, FaultRequest},
    probability,
};

use crate::{client::Client, failure::Failure, output};

/// Break a unit: the fault ends by itself after --for, or with `clear`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  observastack-ctl inject packet-loss --unit observastack-api@1 --port 8101 --probability 20% --for 2m
  observastack-ctl inject connect-error --unit observastack-api@1 --errno ECONNREFUSED --port 8200 --for 30s --verbose")]
pub(crate) struct Inject {
    #[command(subcommand)]
    fault: FaultArgs,
}

#[derive(Debug, Subcommand)]
enum FaultArgs {
    /// Packets that arrive at the unit's sockets vanish silently, like on a bad wire.
    ///
    /// It acts at ingress, so TCP notices nothing but the missing packet and sends it again.
    PacketLoss {
        #[command(flatten)]
        common: Common,
        /// Only TCP and UDP packets with this port at either end.
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// The unit's connect(2) on IPv4 and IPv6 sockets fails with an error of your choice.
    ///
    /// Connections that exist already go on: keep-alive pools hide the fault until they open a new one.
    ConnectError {
        #[command(flatten)]
        common: Common,
        /// Only connections to this port.
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
        /// The error's name: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ...
        #[arg(long, value_name = "NAME")]
        errno: String,
    },
}

/// What every fault has.
#[derive(Debug, Args)]
struct Common {
    /// The unit to break, in a target slice; `.service` may be left out.
    #[arg(long)]
    unit: String,
    /// How long it holds: 100ms to 1h, such as 30s or 2m.
    #[arg(long = "for", value_name = "TIME")]
    held: String,
    /// The share of matching events that is faulted: 20% or 0.2.
    #[arg(long, default_value = "100%", allow_hyphen_values = true)]
    probability: String,
    /// The same seed faults the same event numbers again; drawn and shown where it is not given.
    #[arg(long, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Stream the rule's decisions from the kernel until it ends (Ctrl-C leaves the fault in place).
    #[arg(long, short)]
    verbose: bool,
}

/// Injects the fault, shows it, and follows its decisions where that was asked for.
pub(crate) async fn run(
    inject: Inject,
    injector: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let request = request(inject)?;
    let verbose = request.verbose;
    let status: FaultStatus = injector
        .ask(Method::POST, "/faults", Some(&request))
        .await?;
    match (json, verbose) {
        (true, false) => output::json(&status),
        // A stream is a value a line.
        (true, true) => output::json_line(&status),
        (false, _) => output::line(describe(&status)),
    }
    if verbose {
        follow(&status, injector, json).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// From raw arguments to a request; every value that is out of range is named.
fn request(inject: Inject) -> Result<FaultRequest, Failure> {
    let (common, fault) = match inject.fault {
        FaultArgs::PacketLoss { common, port } => (common, FaultParameters::PacketLoss { port }),
        FaultArgs::ConnectError {
            common,
            port,
            errno,
        } => (common, FaultParameters::ConnectError { port, errno }),
    };
    let mut errors = Vec::new();
    let held = duration::parse_fault_duration(&common.held).map_err(|error| errors.push(error));
    let probability = probability::parse(&common.probability).map_err(|error| errors.push(error));
    let request = FaultRequest {
        unit: common.unit,
        fault,
        for_ms: held
            .map_or(duration::MIN_FAULT, |held| held)
            .as_millis()
            .try_into()
            .unwrap_or(u64::MAX),
        probability: probability.unwrap_or(1.0),
        seed: common.seed,
        verbose: common.verbose,
    };
    // The injector checks again; here it is so that a wrong request costs no round trip, and exits with 2.
    if let Err(more) = request.clone().validate(0) {
        errors.extend(more);
    }
    if errors.is_empty() {
        Ok(request)
    } else {
        Err(Failure::Invalid(errors))
    }
}

fn describe(status: &FaultStatus) -> String {
    let spec = &status.spec;
    let parameters = spec.fault.parameters();
    let parameters = if parameters.is_empty() {
        parameters
    } else {
        format!(" ({parameters})")
    };
    format!(
        "fault {id}: {kind}{parameters} on {unit}, {share} of events, seed {seed}, for {held}\nend it sooner with: observastack-ctl clear {id}",
        id = status.id,
        kind = spec.fault.kind(),
        unit = spec.unit,
        share = probability::display(spec.probability),
        seed = spec.seed,
        held = duration::display(Duration::from_millis(spec.for_ms)),
    )
}

/// Prints decisions until the fault ends.
async fn follow(status: &FaultStatus, injector: &Client, json: bool) -> Result<(), Failure> {
    let path = format!("/faults/{}/decisions", status.id);
    let mut body = injector
        .open(Method::GET, &path, "application/json", Vec::new())
        .await?
        .into_body();
    let mut pending = Vec::new();
    let mut shown = 0;
    while let Some(Ok(frame)) = body.frame().await {
        pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Ok(decision) = serde_json::from_slice::<Decision>(&line) {
                show(&decision, json);
                shown += 1;
            }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args as AllArgs, Verb};

    fn parse(line: &str) -> Result<FaultRequest, Failure> {
        let args = AllArgs::try_parse_from(line.split(' '))
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let Verb::Inject(inject) = args.verb else {
            panic!("not an inject: {line}")
        };
        request(inject)
    }

    #[test]
    fn a_full_line_becomes_a_request() {
        let line = "observastack-ctl inject packet-loss --unit observastack-api@1 --port 8101 --probability 20% --seed 7 --for 2m";
        let request = parse(line).unwrap();
        assert_eq!(
            (request.for_ms, request.probability, request.seed),
            (120_000, 0.2, Some(7))
        );
        assert_eq!(
            request.fault,
            FaultParameters::PacketLoss { port: Some(8101) }
        );
    }

    #[test]
    fn an_end_time_is_required() {
        let failure = parse("observastack-ctl inject packet-loss --unit a")
            .unwrap_err()
            .to_string();
        assert!(failure.contains("--for"), "{failure}");
    }

    #[test]
    fn every_wrong_value_is_named_with_what_is_allowed() {
        let line = "observastack-ctl inject connect-error --unit sshd --errno ENOPE --probability -5% --for 2h";
        let Err(Failure::Invalid(errors)) = parse(line) else {
            panic!("accepted")
        };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["for", "probability", "unit", "errno"]);
        assert_eq!(Failure::Invalid(errors).exit_code(), ExitCode::from(2));
    }
}

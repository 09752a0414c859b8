//! `drill diagnose`: what is wrong, chosen from catalogues.

use std::process::ExitCode;

use clap::Args;
use observastack_spec::scenario::answer::{
    Cause, Component, Diagnosis, Evidence, Mechanism, Signal, catalogue,
};

use super::controller::Controller;
use crate::{failure::Failure, output};

/// Say what is wrong. The last diagnosis counts; `--list` shows what there is to choose from.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Diagnose {
    /// Show everything that can be said.
    #[arg(long, exclusive = true)]
    list: bool,
    /// Where it is wrong, such as api@1.
    #[arg(long, required_unless_present = "list")]
    component: Option<String>,
    /// How, such as packet-loss.
    #[arg(long, required_unless_present = "list")]
    mechanism: Option<String>,
    /// Why, such as configuration.
    #[arg(long, required_unless_present = "list")]
    cause: Option<String>,
    /// A signal that shows it and who shows it, such as kernel.packet-drops=api@1; four at most.
    #[arg(long, value_name = "SIGNAL=COMPONENT")]
    evidence: Vec<String>,
}

/// Says it.
pub(super) async fn run(
    diagnose: &Diagnose,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    if diagnose.list {
        list(json);
        return Ok(ExitCode::SUCCESS);
    }
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let diagnosis = diagnosis(
        &given(&diagnose.component),
        &given(&diagnose.mechanism),
        &given(&diagnose.cause),
        &diagnose.evidence,
    )?;
    let now = controller
        .say("/api/run/diagnosis", Some(&diagnosis))
        .await?;
    if json {
        output::json(&now);
    } else {
        output::line("noted; `observastack-ctl drill submit` once it is repaired");
    }
    Ok(ExitCode::SUCCESS)
}

/// Of words, each of which has to be one of the catalogue's.
pub(crate) fn diagnosis(
    where_it_is: &str,
    mechanism: &str,
    cause: &str,
    shown_by: &[String],
) -> Result<Diagnosis, Failure> {
    Ok(Diagnosis {
        component: component("component", where_it_is)?,
        mechanism: chosen("mechanism", mechanism, Mechanism::ALL, Mechanism::name)?,
        cause: chosen("cause", cause, Cause::ALL, Cause::name)?,
        evidence: shown_by
            .iter()
            .map(|text| evidence(text))
            .collect::<Result<_, _>>()?,
    })
}

fn component(field: &str, text: &str) -> Result<Component, Failure> {
    chosen(field, text, Component::ALL, Component::name)
}

fn chosen<T: Copy>(
    field: &str,
    text: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Failure> {
    let found = all.iter().find(|one| name(**one) == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        Failure::Usage(format!(
            "--{field}: there is no `{text}`; use one of {}",
            names.join(", ")
        ))
    })
}

fn evidence(text: &str) -> Result<Evidence, Failure> {
    let (signal, of) = text.split_once('=').ok_or_else(|| {
        Failure::Usage(format!(
            "--evidence: `{text}` is not allowed; use a signal and a component, such as kernel.packet-drops=api@1"
        ))
    })?;
    Ok(Evidence {
        signal: chosen("evidence", signal, Signal::ALL, Signal::name)?,
        of: component("evidence", of)?,
    })
}

fn list(json: bool) {
    // By the names that the options have.
    let options = ["component", "mechanism", "cause", "evidence"];
    let names = catalogue().into_iter().map(|(_, names)| names);
    let parts = options.into_iter().zip(names);
    if json {
        let parts: std::collections::BTreeMap<_, std::collections::BTreeMap<_, _>> = parts
            .into_iter()
            .map(|(part, names)| (part, names.into_iter().collect()))
            .collect();
        output::json(&parts);
        return;
    }
    for (part, names) in parts {
        let rows: Vec<Vec<String>> = names
            .into_iter()
            .map(|(name, meaning)| vec![name.to_owned(), meaning.to_owned()])
            .collect();
        let head = part.to_uppercase();
        output::line(format!("{}\n", output::table(&[&head, ""], &rows)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_catalogue_is_told_what_is() {
        let error = component("component", "moon").unwrap_err().to_string();
        assert!(
            error.starts_with("--component: there is no `moon`; use one of nothing"),
            "{error}"
        );
        let right = evidence("kernel.packet-drops=api@1").unwrap();
        assert_eq!((right.signal, right.of), (Signal::Drops, Component::Api1));
        assert!(
            evidence("logs")
                .unwrap_err()
                .to_string()
                .contains("such as")
        );
    }
}

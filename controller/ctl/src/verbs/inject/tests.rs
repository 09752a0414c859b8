//! Command lines of `inject`, good and bad.

use clap::Parser;
use observastack_spec::{Direction, Fault, fault::FaultRequest, faults::PacketLoss};

use super::*;
use crate::args::{Args as AllArgs, Verb};

/// The request of a line whose words have no spaces.
pub(super) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<FaultRequest, Failure> {
    let words = ["observastack-ctl", "inject"].into_iter().chain(words);
    let args = AllArgs::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?;
    match args.verb {
        Verb::Inject(inject) => request(*inject),
        other => panic!("{other:?}"),
    }
}

fn line(line: &str) -> Result<FaultRequest, Failure> {
    parse(line.split(' '))
}

#[test]
fn a_full_line_becomes_a_request() {
    let request = line("packet-loss --unit observastack-api@1 --port 8101 --probability 20% --seed 7 --for 2m --direction in --every 2 --after 3 --max 4 -v").unwrap();
    assert_eq!(
        (request.for_ms, request.probability, request.seed),
        (120_000, 0.2, Some(7))
    );
    assert_eq!(
        (request.every, request.after, request.max, request.verbose),
        (2, 3, Some(4), true)
    );
    let loss = PacketLoss {
        direction: Direction::In,
        port: Some(8101),
        ..PacketLoss::default()
    };
    assert_eq!(request.fault, Fault::PacketLoss(loss));
}

#[test]
fn every_wrong_value_is_named_with_what_is_allowed() {
    let failure = line("disk-delay --unit sshd --read 11s --write 12s --for 1s").unwrap_err();
    let Failure::Invalid(errors) = &failure else {
        panic!("{failure}")
    };
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["unit", "read", "write"]);
    assert_eq!(failure.exit_code(), ExitCode::from(2));
}

#[test]
fn a_file_and_a_fault_exclude_each_other_and_one_is_needed() {
    let read = |words: &[&str]| {
        AllArgs::try_parse_from(["observastack-ctl", "inject"].iter().chain(words))
    };
    assert!(read(&["-f", "x.yaml"]).is_ok());
    assert!(read(&["-f", "-", "--dry-run"]).is_ok());
    for wrong in [
        &["-f", "x.yaml", "blackhole", "--unit", "a", "--for", "1s"][..],
        &["--dry-run"],
        &[],
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn help_is_whole() {
    use clap::CommandFactory;
    let mut command = AllArgs::command();
    command.build();
    let inject = command.find_subcommand_mut("inject").unwrap();
    let help = inject.render_long_help().to_string();
    assert!(
        help.contains("Several faults on one unit act in this order"),
        "{help}"
    );
    for kind in observastack_spec::fault::KINDS {
        let fault = inject.find_subcommand_mut(kind).unwrap();
        let help = fault.render_long_help().to_string();
        let example = format!("Example: observastack-ctl inject {kind} --unit observastack-");
        assert!(help.contains(&example), "{help}");
        let words = fault
            .get_long_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(words.len() > 150, "{kind} is hardly described: {words}");
        // The example is a request.
        let example = fault.get_after_help().unwrap().to_string();
        let words: Vec<_> = example.split(' ').skip(3).collect();
        let request = parse(words).unwrap_or_else(|failure| panic!("{example}: {failure}"));
        assert_eq!(request.fault.kind(), *kind);
    }
}

//! The whole grammar: every fault with right and with every kind of wrong argument, as flags and as a file's fields.
//!
//! Rows are fields of a file's entry; the flags are the same with `--`.

use observastack_spec::{fault::KINDS, file};

use super::tests::parse;

/// A fault's needed fields, and right values of all its other fields.
struct Right {
    kind: &'static str,
    needed: &'static str,
    optional: &'static str,
}

const fn right(kind: &'static str, needed: &'static str, optional: &'static str) -> Right {
    Right {
        kind,
        needed,
        optional,
    }
}

const FILTER: &str = "direction=in protocol=tcp port=8101 peer=10.0.0.0/8";
const RIGHT: &[Right] = &[
    right(
        "packet-loss",
        "",
        "direction=out protocol=tcp port=8101 peer=2001:db8::/32 burst=1%,25% syn-only=true",
    ),
    right(
        "latency",
        "delay=150ms",
        "jitter=20ms distribution=pareto direction=in protocol=udp port=1 peer=10.0.0.7",
    ),
    right("bandwidth", "rate=1mbit", FILTER),
    right("blackhole", "", FILTER),
    right("mtu-blackhole", "mtu=1400", FILTER),
    right(
        "connect-error",
        "errno=ECONNREFUSED",
        "protocol=tcp port=8200 peer=::1",
    ),
    right("bind-error", "errno=EADDRINUSE", "protocol=udp port=8101"),
    right("reset", "", "interval=5s port=5440 peer=127.0.0.1"),
    right("slow-receiver", "window=4KiB", "port=8101 peer=127.0.0.0/8"),
    right(
        "syscall-error",
        "calls=read,write errno=EIO",
        "path=/var/lib/shop filesystem=ext4 files=regular",
    ),
    right("syscall-error", "calls=send errno=EPIPE", "sockets=unix"),
    right("signal", "signal=TERM call=openat", ""),
    right("cpu-quota", "quota=150%", ""),
    right("memory-limit", "limit=64MiB", ""),
    right("tasks-limit", "limit=10", ""),
    right("fd-limit", "limit=0", ""),
    right("cpu-stress", "workers=2", "load=80%"),
    right("freeze", "", "period=1s frozen=30%"),
    right("disk-delay", "flush=200ms", "read=1ms write=10s"),
    right(
        "disk-error",
        "",
        "reads=true writes=true healthy=10s failing=2s",
    ),
    right("disk-fill", "", "leave=1MiB"),
    right("unit", "action=kill", "signal=SEGV interval=10s"),
];

/// Wrong values of single fields: kind, right fields beside it, and the wrong ones, each with the field that is named.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "packet-loss",
        "",
        "direction=sideways protocol=icmp port=0 port=70000 port=http peer=all burst=1% burst=60%,60%",
    ),
    ("packet-loss", "protocol=udp", "syn-only=true"),
    ("packet-loss", "burst=1%,25%", "probability=50% every=2"),
    ("latency", "", "delay=0s delay=6s delay=fast delay=5"),
    (
        "latency",
        "delay=10ms",
        "jitter=11ms jitter=x distribution=normal distribution=poisson direction=up protocol=6 port=-1 peer=10.0.0.0/33",
    ),
    (
        "bandwidth",
        "",
        "rate=7kbit rate=101gbit rate=10mbps rate=1",
    ),
    (
        "bandwidth",
        "rate=1mbit",
        "direction=x protocol=x port=x peer=x",
    ),
    ("blackhole", "", "direction=x protocol=x port=0 peer=x"),
    ("mtu-blackhole", "", "mtu=67 mtu=65536 mtu=big mtu=-1"),
    (
        "mtu-blackhole",
        "mtu=1400",
        "direction=x protocol=x port=x peer=x",
    ),
    ("connect-error", "", "errno=ENOPE errno=111"),
    (
        "connect-error",
        "errno=EIO",
        "protocol=x port=0 peer=localhost",
    ),
    ("bind-error", "", "errno=x"),
    ("bind-error", "errno=EIO", "protocol=x port=65536"),
    ("reset", "", "interval=99ms interval=often port=x peer=x"),
    ("slow-receiver", "", "window=1025MiB window=small"),
    ("slow-receiver", "window=0", "port=0 peer=x"),
    ("syscall-error", "errno=EIO", "calls=fsync calls=read,read"),
    ("syscall-error", "calls=read", "errno=EWHAT"),
    (
        "syscall-error",
        "calls=read errno=EIO",
        "path=relative path=/a/../b filesystem=ntfs files=fifo sockets=inet",
    ),
    (
        "syscall-error",
        "calls=connect errno=EIO",
        "path=/a filesystem=ext4 files=pipe sockets=ipx",
    ),
    (
        "syscall-error",
        "calls=read,connect errno=EIO",
        "path=/a sockets=unix",
    ),
    ("syscall-error", "calls=unlink errno=EIO", "files=regular"),
    ("signal", "call=openat", "signal=9 signal=FOO"),
    ("signal", "signal=TERM", "call=fopen"),
    ("cpu-quota", "", "quota=0% quota=10001% quota=20 quota=lots"),
    ("memory-limit", "", "limit=1023KiB limit=x"),
    ("tasks-limit", "", "limit=0 limit=x limit=-1"),
    ("fd-limit", "", "limit=1048577 limit=x"),
    ("cpu-stress", "", "workers=0 workers=65 workers=x"),
    ("cpu-stress", "workers=1", "load=0% load=101% load=50"),
    ("freeze", "", "period=19ms period=61s period=x frozen=30%"),
    ("freeze", "period=1s", "frozen=0% frozen=100% frozen=x"),
    ("disk-delay", "", "read=11s write=0s flush=x"),
    (
        "disk-error",
        "failing=1s",
        "healthy=500ms healthy=2h healthy=x",
    ),
    ("disk-error", "healthy=1s", "failing=1500ms failing=x"),
    ("disk-error", "", "healthy=1s failing=1s"),
    ("disk-fill", "", "leave=x leave=-1"),
    ("unit", "", "action=pause"),
    (
        "unit",
        "action=kill",
        "signal=FOO interval=499ms interval=x",
    ),
    ("unit", "action=stop", "signal=TERM interval=1s"),
    ("unit", "action=restart", "signal=TERM"),
];

/// Options of every fault: which of them each has no use for is in its file; here it is written down a second time.
const SENSELESS: &[(&str, &str)] = &[
    ("bandwidth", "probability=50% every=2 seed=7"),
    ("blackhole", "probability=50% every=2 seed=7"),
    ("reset", "every=2 after=3 seed=7 verbose=true"),
    ("cpu-quota", NONE),
    ("memory-limit", NONE),
    ("tasks-limit", NONE),
    ("fd-limit", NONE),
    ("cpu-stress", NONE),
    ("freeze", NONE),
    ("disk-delay", NONE),
    ("disk-error", NONE),
    ("disk-fill", NONE),
    ("unit", NONE),
];
const NONE: &str = "probability=50% every=2 after=3 max=4 seed=7 verbose=true";
const COMMON_WRONG: &str = "unit=sshd unit=a/b for=99ms for=2h for=soon";
const EVENTS_WRONG: &str =
    "probability=101% probability=half every=0 every=x after=-1 max=0 max=x seed=-1";

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn fields(text: &str) -> Fields<'_> {
    text.split_whitespace()
        .filter_map(|field| field.split_once('='))
        .collect()
}

const HELD: [(&str, &str); 2] = [("unit", "shop"), ("for", "30s")];

/// The request as flags give it, or the message.
fn by_flags(
    kind: &str,
    fields: &Fields<'_>,
) -> Result<observastack_spec::fault::FaultRequest, String> {
    let mut words = vec![kind.to_owned()];
    for (name, value) in fields {
        words.push(format!("--{name}"));
        if *value != "true" {
            words.push((*value).to_owned());
        }
    }
    parse(words.iter().map(String::as_str)).map_err(|failure| {
        assert_eq!(
            failure.exit_code(),
            std::process::ExitCode::from(2),
            "{failure}"
        );
        // Without the usage, which names every needed flag.
        let message = failure.to_string();
        message
            .split("\nUsage")
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

/// The request as a file gives it, or the message.
fn by_file(
    kind: &str,
    fields: &Fields<'_>,
) -> Result<observastack_spec::fault::FaultRequest, String> {
    let mut text = format!("faults:\n  - fault: {kind}\n");
    for (name, value) in fields {
        text.push_str(&format!("    {name}: \"{value}\"\n"));
    }
    let read = file::read(&text).map(|mut requests| requests.remove(0));
    read.map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Both ways refuse, and name the field and no other.
fn refused(kind: &str, fields: &Fields<'_>, field: &str) {
    let flags = by_flags(kind, fields).expect_err(&format!("{kind} {fields:?}"));
    let flag_named = flags.contains(&format!("--{field}"));
    let field_named = flags
        .lines()
        .any(|line| line.starts_with(&format!("{}: ", field.replace('-', "_"))));
    assert!(
        flag_named || field_named,
        "{kind} {fields:?}: {field} is not named: {flags}"
    );
    let file = by_file(kind, fields).expect_err(&format!("{kind} {fields:?}"));
    let spelled = [field.to_owned(), field.replace('-', "_")];
    let named = |line: &str| {
        spelled
            .iter()
            .any(|field| line.contains(&format!(": {field}: ")))
    };
    assert!(
        file.lines().any(named),
        "{kind} {fields:?}: {field} is not named: {file}"
    );
}

/// What a fault needs, with the fields of which a test gives another value left out.
fn with<'a>(kind: &str, given: &Fields<'a>) -> Fields<'a> {
    let right = RIGHT.iter().find(|right| right.kind == kind).unwrap();
    let base = HELD.iter().copied().chain(fields(right.needed));
    let mut all: Fields<'a> = base
        .filter(|(name, _)| !given.iter().any(|(other, _)| other == name))
        .collect();
    all.extend(given);
    all
}

#[test]
fn every_fault_is_the_same_request_as_flags_and_in_a_file() {
    for kind in KINDS {
        assert!(
            RIGHT.iter().any(|right| right.kind == *kind),
            "{kind} is not in the table"
        );
    }
    for right in RIGHT {
        let mut common = fields("probability=20% every=2 after=3 max=4 seed=7 verbose=true");
        let mut left_out: Vec<_> = SENSELESS
            .iter()
            .filter(|(kind, _)| *kind == right.kind)
            .flat_map(|(_, options)| fields(options))
            .collect();
        if right.kind == "packet-loss" {
            // Not together with bursts.
            left_out.extend([("probability", ""), ("every", "")]);
        }
        common.retain(|(name, _)| !left_out.iter().any(|(other, _)| other == name));
        let mut least: Fields<'_> = HELD.to_vec();
        least.extend(fields(right.needed));
        let mut most = least.clone();
        most.extend(fields(right.optional));
        most.extend(common);
        for given in [&least, &most] {
            let flags = by_flags(right.kind, given).unwrap_or_else(|error| panic!("{error}"));
            let file = by_file(right.kind, given).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(flags, file, "{}", right.kind);
            assert_eq!(flags.fault.kind(), right.kind);
        }
        let json = serde_json::to_value(by_file(right.kind, &most).unwrap()).unwrap();
        for (name, _) in fields(right.optional) {
            assert!(
                json["fault"].get(name.replace('-', "_")).is_some(),
                "{name} is lost: {json}"
            );
        }
    }
}

#[test]
fn every_needed_field_that_is_missing_is_named() {
    for right in RIGHT {
        let mut whole: Fields<'_> = HELD.to_vec();
        whole.extend(fields(right.needed));
        for (missing, _) in whole.clone() {
            let rest = whole.iter().copied().filter(|(name, _)| *name != missing);
            // One of read, write and flush is needed; the message begins with the first.
            let named = if missing == "flush" { "read" } else { missing };
            refused(right.kind, &rest.collect(), named);
        }
    }
}

#[test]
fn every_value_that_is_wrong_is_named() {
    for (kind, beside, wrong) in WRONG {
        for (field, value) in fields(wrong) {
            let mut given = fields(beside);
            given.push((field, value));
            refused(kind, &with(kind, &given), field);
        }
    }
}

#[test]
fn common_values_that_are_wrong_are_named_for_every_fault() {
    for kind in KINDS {
        for (field, value) in fields(COMMON_WRONG) {
            refused(kind, &with(kind, &vec![(field, value)]), field);
        }
        for (field, value) in fields(EVENTS_WRONG) {
            refused(kind, &with(kind, &vec![(field, value)]), field);
        }
    }
}

#[test]
fn options_without_sense_are_named() {
    for (kind, options) in SENSELESS {
        for (field, value) in fields(options) {
            refused(kind, &with(kind, &vec![(field, value)]), field);
        }
    }
}

#[test]
fn unknown_fields_are_named_for_every_fault() {
    for kind in KINDS {
        refused(kind, &with(kind, &vec![("colour", "red")]), "colour");
    }
    let flags = by_flags("packet-los", &HELD.to_vec()).unwrap_err();
    assert!(flags.contains("packet-los"), "{flags}");
    let file = by_file("packet-los", &HELD.to_vec()).unwrap_err();
    assert!(file.contains("fault: there is no `packet-los`"), "{file}");
}

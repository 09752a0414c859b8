//! What a process writes to journald, to standard error and to the service manager.
//!
//! This program is both sides: with [`ROLE`] in its environment it is the process, else the tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use observastack_telemetry::{logs, notify};

const ROLE: &str = "OBSERVASTACK_TEST_ROLE";
const JOURNAL: &str = "/run/systemd/journal/socket";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("journal") => journal_role(),
        Ok("lines") => lines_role(),
        Ok("notify") => notify_role(),
        Ok(other) => panic!("no such role: {other}"),
        Err(_) => {
            let may_unshare = in_private_run("true")
                .output()
                .is_ok_and(|output| output.status.success());
            let trials = vec![
                trial(
                    "journald_gets_structured_fields_with_the_config_version",
                    journal,
                )
                .with_ignored_flag(!may_unshare),
                trial(
                    "without_journald_the_lines_go_to_standard_error",
                    no_journal,
                )
                .with_ignored_flag(!may_unshare),
                trial(
                    "lines_end_with_the_config_version_and_obey_the_filter",
                    lines,
                ),
                trial("a_second_set_up_is_an_error", second_set_up),
                trial(
                    "the_service_manager_hears_each_state_in_one_message",
                    notices,
                ),
                trial(
                    "outside_systemd_nothing_is_sent_and_nothing_fails",
                    no_manager,
                ),
            ];
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn trial(name: &'static str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn role(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_role(&mut command, role);
    command
}

fn as_role(command: &mut Command, role: &str) {
    command.env(ROLE, role);
    for name in [
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        logs::FILTER_VARIABLE,
    ] {
        command.env_remove(name);
    }
}

/// A command that sees an empty /run, where it can play journald. Needs root.
fn in_private_run(script: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs tmpfs /run && {script}");
    command
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap());
    command
}

fn succeeded(output: Output) -> (String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    (stdout, stderr)
}

fn speak() {
    tracing::info!(order_id = 17, http.route = "/orders/{id}", "first");
    tracing::debug!("hidden by the default filter");
    logs::set_config_version(4);
    tracing::info_span!("checkout", customer = "c1").in_scope(|| tracing::error!("second"));
    logs::set_config_version(5);
    log::warn!("third, from the log crate");
    log::debug!("hidden, too");
}

fn journal_role() {
    let journald = UnixDatagram::bind(JOURNAL).unwrap();
    journald.set_nonblocking(true).unwrap();
    logs::init("observastack-test").unwrap();
    speak();
    let mut buffer = vec![0; 65536];
    while let Ok(length) = journald.recv(&mut buffer) {
        // The set-up's own probe is empty.
        if length > 0 {
            println!("--\n{}", fields(&buffer[..length]).join("\n"));
        }
    }
}

/// journald's native protocol: `NAME=value\n`, or `NAME\n`, the value's length in 8 bytes, the value, `\n`.
fn fields(mut record: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    while let Some(end) = record.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&record[..end]).unwrap();
        record = &record[end + 1..];
        if line.contains('=') {
            fields.push(line.to_owned());
            continue;
        }
        let (length, rest) = record.split_first_chunk::<8>().unwrap();
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
        fields.push(format!(
            "{line}={}",
            std::str::from_utf8(&rest[..length]).unwrap()
        ));
        record = &rest[length + 1..];
    }
    fields
}

fn journal() {
    let mut command = in_private_run("mkdir -p /run/systemd/journal && exec \"$0\"");
    as_role(&mut command, "journal");
    let (stdout, _) = succeeded(command.env("JOURNAL_STREAM", "1:2").output().unwrap());
    let records: Vec<Vec<&str>> = stdout
        .split("--\n")
        .skip(1)
        .map(|record| record.lines().collect())
        .collect();
    assert_eq!(records.len(), 3, "{stdout}");
    let expected = [
        vec![
            "MESSAGE=first",
            "PRIORITY=6",
            "ORDER_ID=17",
            "HTTP_ROUTE=/orders/{id}",
            "SYSLOG_IDENTIFIER=observastack-test",
        ],
        vec![
            "MESSAGE=second",
            "PRIORITY=3",
            "CONFIG_VERSION=4",
            "CUSTOMER=c1",
            "SPAN_NAME=checkout",
        ],
        vec![
            "MESSAGE=third, from the log crate",
            "PRIORITY=4",
            "CONFIG_VERSION=5",
        ],
    ];
    for (record, expected) in records.iter().zip(expected) {
        for field in expected {
            assert!(record.contains(&field), "{field} is not in {record:?}");
        }
        let versions = record
            .iter()
            .filter(|field| field.starts_with("CONFIG_VERSION="))
            .count();
        assert!(versions <= 1, "{record:?}");
    }
}

fn lines_role() {
    logs::init("observastack-test").unwrap();
    speak();
    println!("{}", logs::init("observastack-test").unwrap_err());
}

fn check_lines(stderr: &str) {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.starts_with("observastack-test:"))
        .collect();
    let [first, second, third] = lines.as_slice() else {
        panic!("{stderr}")
    };
    assert!(
        first.contains(" INFO ")
            && first.contains("order_id=17")
            && !first.contains("config_version"),
        "{first}"
    );
    assert!(
        second.contains("ERROR checkout{customer=\"c1\"}") && second.ends_with(" config_version=4"),
        "{second}"
    );
    assert!(
        third.contains(" WARN ") && third.ends_with(" config_version=5"),
        "{third}"
    );
}

fn no_journal() {
    let mut command = in_private_run("exec \"$0\"");
    as_role(&mut command, "lines");
    let (_, stderr) = succeeded(command.env("JOURNAL_STREAM", "1:2").output().unwrap());
    assert!(
        stderr.starts_with("observastack-test: journald cannot be reached"),
        "{stderr}"
    );
    check_lines(&stderr);
}

fn lines() {
    let (_, stderr) = succeeded(role("lines").output().unwrap());
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    check_lines(&stderr);
    let (_, stderr) = succeeded(
        role("lines")
            .env(logs::FILTER_VARIABLE, "error")
            .output()
            .unwrap(),
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let (_, stderr) = succeeded(
        role("lines")
            .env(logs::FILTER_VARIABLE, "process=debug")
            .output()
            .unwrap(),
    );
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
}

fn second_set_up() {
    let (stdout, _) = succeeded(role("lines").output().unwrap());
    assert_eq!(stdout, "logging is already set up in this process\n");
}

fn notify_role() {
    notify::status("one\ntwo\0three");
    notify::reloading();
    notify::ready();
    notify::stopping();
    println!("{:?}", notify::watchdog_timeout());
}

fn notices() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = role("notify");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "30000000");
    let (stdout, stderr) = succeeded(command.output().unwrap());
    assert_eq!((stdout.as_str(), stderr.as_str()), ("Some(30s)\n", ""));
    let hear = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(hear(), "STATUS=one two three");
    let reloading = hear();
    let (state, at) = reloading.split_once('\n').unwrap();
    assert_eq!(state, "RELOADING=1");
    let at_us: i64 = at.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    assert!(
        (now.tv_sec * 1_000_000 - at_us) < 60_000_000,
        "{at_us} us is not just now"
    );
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "STOPPING=1");
}

fn no_manager() {
    let (stdout, stderr) = succeeded(role("notify").output().unwrap());
    assert_eq!((stdout.as_str(), stderr.as_str()), ("None\n", ""));
}

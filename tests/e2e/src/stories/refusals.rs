//! Faults that are refused: the right exit code, the field, what is allowed instead, and nothing half-applied.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    http::{Answer, curl, curl_sending},
    lab::{self, API_1, INJECTOR_SOCKET},
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "refusals::units_that_must_not_break_are_refused_by_name",
            protected_units,
        ),
        test(
            "refusals::units_that_are_unknown_or_elsewhere_are_refused_by_name",
            other_units,
        ),
        test(
            "refusals::values_out_of_range_are_refused_by_field_with_what_is_allowed",
            out_of_range,
        ),
        test(
            "refusals::the_api_checks_everything_again",
            api_checks_again,
        ),
        test(
            "refusals::too_many_faults_on_one_unit_are_refused",
            too_many,
        ),
    ]
}

/// Runs something that is refused, and checks that the injector's faults are what they were.
fn refused<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // A fault that is there must stay there, as it is.
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        API_1,
        "--port",
        "9",
        "--probability",
        "1%",
        "--seed",
        "1",
        "--for",
        "10m",
    ])?;
    let list = || -> Result<Vec<Value>> {
        let mut faults = lab::faults()?;
        for fault in &mut faults {
            fault["remaining_ms"] = Value::Null;
        }
        Ok(faults)
    };
    let before = list()?;
    let outcome = body()?;
    ensure!(
        list()? == before,
        "faults have changed: {:?}, were {before:?}",
        list()?
    );
    lab::clear(id)?;
    Ok(outcome)
}

/// `inject packet-loss` on a unit, which must be refused.
fn inject_refused(unit: &str, code: i32, words: &[&str]) -> Result<()> {
    let ran = lab::ctl_ran(&["inject", "packet-loss", "--unit", unit, "--for", "10s"])?;
    ran.expect(code)?;
    ran.says(words)
}

fn protected_units() -> Result<()> {
    refused(|| {
        for (unit, why) in [
            ("ssh", "way into this machine"),
            ("sshd.service", "way into this machine"),
            ("systemd-journald", "belongs to systemd"),
            ("init.scope", "pid 1"),
            ("observastack-injector", "control slice"),
            ("observastack-controller.service", "control slice"),
            ("dbus", "systemd is spoken to"),
        ] {
            inject_refused(unit, 2, &["unit", unit, why])?;
        }
        for (unit, why) in [
            ("observastack-sut.slice", "only services and scopes"),
            ("observastack-api@", "template"),
            ("", "empty"),
        ] {
            inject_refused(unit, 2, &["unit", why])?;
        }
        Ok(())
    })
}

fn other_units() -> Result<()> {
    refused(|| {
        // There is no such unit; there is, but it is not in a target slice.
        inject_refused(
            "observastack-nothing",
            2,
            &[
                "unit",
                "observastack-nothing.service",
                "there is no unit",
                lab::SUT_SLICE,
            ],
        )?;
        // systemd loads any instance of a template; this one was never enabled or started.
        inject_refused(
            "observastack-api@77",
            2,
            &["unit", "observastack-api@77.service", "there is no unit"],
        )?;
        for (unit, slice) in [
            ("cron", "system.slice"),
            ("systemd-networkd", "belongs to systemd"),
            ("observastack-postgresql-setup", "control slice"),
        ] {
            let known =
                crate::systemd::property(&format!("{unit}.service"), "LoadState")? == "loaded";
            if known {
                inject_refused(unit, 2, &["unit", unit, slice])?;
            }
        }
        // One that surely is in system.slice, running.
        crate::command::output(&[
            "systemd-run",
            "--quiet",
            "--collect",
            "--unit=observastack-e2e-elsewhere",
            "sleep",
            "infinity",
        ])?;
        inject_refused(
            "observastack-e2e-elsewhere",
            2,
            &[
                "unit",
                "observastack-e2e-elsewhere.service",
                "system.slice",
                "not a target",
            ],
        )
    })
}

fn out_of_range() -> Result<()> {
    let good = [
        "connect-error",
        "--unit",
        API_1,
        "--errno",
        "ECONNREFUSED",
        "--for",
        "10s",
        "--probability",
        "10%",
        "--port",
        "8200",
    ];
    let with = |flag: &str, value: &'static str| -> Vec<&str> {
        let at = good
            .iter()
            .position(|word| *word == flag)
            .unwrap_or(good.len());
        let mut words = vec!["inject"];
        words.extend(
            good.iter()
                .enumerate()
                .map(|(index, word)| if index == at + 1 { value } else { word }),
        );
        words
    };
    refused(|| {
        for (flag, value, words) in [
            (
                "--probability",
                "101%",
                ["probability", "101%", "0% to 100%"],
            ),
            ("--probability", "-1%", ["probability", "-1%", "0% to 100%"]),
            ("--probability", "1.5", ["probability", "1.5", "0% to 100%"]),
            (
                "--probability",
                "often",
                ["probability", "often", "0% to 100%"],
            ),
            ("--for", "61m", ["for", "61m", "100ms to 1h"]),
            ("--for", "50ms", ["for", "50ms", "100ms to 1h"]),
            ("--for", "soon", ["for", "soon", "100ms to 1h"]),
            (
                "--errno",
                "EWHATEVER",
                ["errno", "EWHATEVER", "ECONNREFUSED"],
            ),
            ("--errno", "111", ["errno", "111", "ECONNREFUSED"]),
            ("--port", "0", ["--port", "0", "1 to 65535"]),
            ("--port", "70000", ["--port", "70000", "1 to 65535"]),
        ] {
            let ran = lab::ctl_ran(&with(flag, value))?;
            ran.expect(2)?;
            // A duration is shown as it is understood: 1h 1m for 61m.
            ran.says(&[words[0], words[2]])?;
            ensure!(
                ran.stderr.contains(value) || flag == "--for",
                "{value} is not named: {}",
                ran.stderr
            );
        }
        let without: Vec<&str> = with("--for", "10s")
            .into_iter()
            .filter(|word| !["--for", "10s"].contains(word))
            .collect();
        let ran = lab::ctl_ran(&without)?;
        ran.expect(2)?;
        ran.says(&["--for"])?;

        // All that is wrong is named at once, where it has the right form; the command line reads form first.
        let answer = post(
            &serde_json::json!({
                "unit": "ssh", "fault": {"kind": "packet-loss", "port": 0}, "for_ms": 7_200_000, "probability": 2.0,
            })
            .to_string(),
        )?
        .expect(422)?;
        let fields = answer["fields"].as_array().context("no fields")?;
        let named: Vec<&str> = fields
            .iter()
            .filter_map(|field| field["field"].as_str())
            .collect();
        ensure!(named == ["unit", "for", "probability", "port"], "{answer}");
        let ran = lab::ctl_ran(&[
            "inject",
            "reset",
            "--unit",
            "ssh",
            "--interval",
            "1ms",
            "--for",
            "1m",
        ])?;
        ran.expect(2)?;
        ran.says(&["unit", "interval"])
    })
}

/// The injector's answer to a body, as it is.
fn post(body: &str) -> Result<Answer> {
    curl_sending(
        &[
            "--unix-socket",
            INJECTOR_SOCKET,
            "--json",
            "@-",
            "http://localhost/faults",
        ],
        body,
    )
}

fn api_checks_again() -> Result<()> {
    refused(|| {
        let request = |changes: Value| {
            let mut request = serde_json::json!({
                "unit": API_1, "fault": {"kind": "packet-loss", "port": 8101}, "for_ms": 10_000, "probability": 0.1,
            });
            for (name, value) in changes.as_object().into_iter().flatten() {
                request[name] = value.clone();
            }
            request.to_string()
        };
        for (changes, field, allowed) in [
            (
                serde_json::json!({"unit": "ssh"}),
                "unit",
                "way into this machine",
            ),
            (
                serde_json::json!({"probability": 1.01}),
                "probability",
                "0% to 100%",
            ),
            (
                serde_json::json!({"probability": -0.01}),
                "probability",
                "0% to 100%",
            ),
            (
                serde_json::json!({"for_ms": 3_660_000}),
                "for",
                "100ms to 1h",
            ),
            (serde_json::json!({"for_ms": 50}), "for", "100ms to 1h"),
            (
                serde_json::json!({"fault": {"kind": "packet-loss", "port": 0}}),
                "port",
                "1 to 65535",
            ),
        ] {
            let body = request(changes);
            let answer = post(&body)?.expect(422)?;
            ensure!(answer["code"] == "invalid", "{answer}");
            let named = &answer["fields"][0];
            ensure!(named["field"] == field, "{body}: {answer}");
            let what = named["allowed"].as_str().context("nothing is allowed")?;
            ensure!(what.contains(allowed), "{body}: {answer}");
        }
        // What the API does not understand, with the place in the words.
        let without_end = request(Value::Null).replace("\"for_ms\":10000,", "");
        let unknown_kind = request(serde_json::json!({"fault": {"kind": "earthquake"}}));
        let port_70000 =
            request(serde_json::json!({"fault": {"kind": "packet-loss", "port": 70_000}}));
        let no_errno =
            request(serde_json::json!({"fault": {"kind": "connect-error", "errno": "EWHATEVER"}}));
        for (body, word) in [
            (no_errno.as_str(), "errno: `EWHATEVER` is not allowed"),
            (without_end.as_str(), "for_ms"),
            (&unknown_kind, "earthquake"),
            (&port_70000, "70000"),
            (&request(serde_json::json!({"colour": "blue"})), "colour"),
            ("{\"unit\": ", "line 1"),
            ("shop", "line 1"),
            ("[]", "fault"),
            ("", "EOF"),
        ] {
            let answer = post(body)?.expect(400)?;
            let error = answer["error"].as_str().unwrap_or_default();
            ensure!(
                answer["code"] == "bad-request" && error.contains(word),
                "{body}: {answer}"
            );
        }
        let large = request(serde_json::json!({"unit": "x".repeat(65 * 1024)}));
        let answer = post(&large)?.expect(413)?;
        ensure!(
            answer["error"]
                .as_str()
                .is_some_and(|error| error.contains("65536")),
            "{answer}"
        );

        let injector =
            |words: &[&str]| curl(&[&["--unix-socket", INJECTOR_SOCKET], words].concat());
        injector(&["http://localhost/nothing"])?.expect(404)?;
        injector(&["--request", "PUT", "http://localhost/faults"])?.expect(405)?;
        injector(&["--request", "DELETE", "http://localhost/faults/9999"])?.expect(404)?;
        injector(&["--request", "DELETE", "http://localhost/faults/first"])?.expect(400)?;
        Ok(())
    })
}

fn too_many() -> Result<()> {
    // Each unit has room for eight rules of a kind.
    let words = [
        "packet-loss",
        "--unit",
        API_1,
        "--port",
        "9",
        "--for",
        "10m",
    ];
    for _ in 0..8 {
        lab::inject(&words)?;
    }
    let before = lab::faults()?.len();
    let ran = lab::ctl_ran(&[&["inject"], &words[..]].concat())?;
    ran.expect(1)?;
    ran.says(&[API_1, "8"])?;
    ensure!(
        lab::faults()?.len() == before,
        "the refused fault is listed"
    );
    Ok(())
}

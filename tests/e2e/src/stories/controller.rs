//! The controller's unit: what it may, and what it may not.

use std::fs;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command, http,
    lab::{API_1, CONTROLLER, INJECTOR, POSTGRESQL},
    story::test,
    systemd,
};

/// Where it answers.
pub(super) const API: &str = "http://127.0.0.1:8080";
const TOKENS: &str = "/etc/observastack/tokens.json";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "controller::it_may_restart_the_shops_units_and_stop_none",
            units,
        ),
        test(
            "controller::it_acts_as_the_shops_roles_in_the_database_and_is_no_superuser",
            database,
        ),
        test(
            "controller::tokens_are_the_operators_and_without_one_nothing_is_told",
            tokens,
        ),
        test(
            "controller::answers_of_drills_are_for_the_controller_alone",
            answers,
        ),
    ]
}

/// As the controller's user, without a terminal that could ask anybody.
fn as_controller(words: &[&str]) -> Result<command::Ran> {
    command::run(&[&["runuser", "-u", "observastack-controller", "--"], words].concat())
}

fn units() -> Result<()> {
    let may = |verb: &str, unit: &str| {
        as_controller(&["systemctl", "--no-ask-password", verb, unit]).map(|ran| ran.code == 0)
    };
    let before = systemd::property(API_1, "InvocationID")?;
    ensure!(may("restart", API_1)?, "it may not restart {API_1}");
    ensure!(
        systemd::property(API_1, "InvocationID")? != before,
        "{API_1} was not restarted"
    );
    ensure!(may("start", INJECTOR)?, "it may not start {INJECTOR}");
    for (verb, unit) in [
        ("stop", API_1),
        ("kill", API_1),
        ("stop", POSTGRESQL),
        ("restart", INJECTOR),
        ("stop", CONTROLLER),
        ("restart", "ssh.service"),
        ("mask", API_1),
    ] {
        ensure!(!may(verb, unit)?, "it may {verb} {unit}");
    }
    ensure!(systemd::is_active(API_1)?, "{API_1} does not run");
    Ok(())
}

fn database() -> Result<()> {
    let ask = |query: &str| {
        as_controller(&[
            "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "host=/run/observastack/postgresql port=5440 dbname=shop user=controller",
            "-c",
            query,
        ])
    };
    let sees =
        ask("select count(*) > 0 from shop.orders union all select count(*) > 0 from stock.items")?;
    sees.expect(0)?;
    ensure!(sees.stdout.trim() == "t\nt", "{}", sees.stdout);
    ask("create table shop.of_a_test (n int); drop table shop.of_a_test")?.expect(0)?;
    for refused in [
        "select rolpassword from pg_authid",
        "select verifier from observastack.saved_passwords",
        "alter role api superuser",
        "alter role postgres password 'x'",
        "select observastack.rotate_password('postgres')",
        "copy (select 1) to program 'true'",
    ] {
        let ran = ask(refused)?;
        ensure!(ran.code != 0, "`{refused}` is not refused");
    }
    let others = as_controller(&[
        "psql",
        "-XqAt",
        "-d",
        "host=/run/observastack/postgresql port=5440 dbname=shop user=postgres",
        "-c",
        "select 1",
    ])?;
    ensure!(others.code != 0, "it may be `postgres`");
    Ok(())
}

fn tokens() -> Result<()> {
    let owner = command::output(&["stat", "--format=%U:%G %a", TOKENS])?;
    ensure!(owner.trim() == "root:observastack 640", "{owner}");
    let status = |arguments: &[&str]| http::curl(arguments).map(|answer| answer.status);
    let drills = format!("{API}/api/drills");
    ensure!(status(&[&drills])? == 401, "drills are told to everybody");
    let wrong = "authorization: Bearer 000000000000000000000000000000000000";
    ensure!(
        status(&["-H", wrong, &drills])? == 401,
        "any token is good enough"
    );
    let learner = token("learner")?;
    ensure!(
        status(&["-H", &learner, &drills])? == 200,
        "a learner is told nothing"
    );
    let abort = format!("{API}/api/run/abort");
    ensure!(
        status(&["-H", &learner, "-X", "POST", &abort])? == 403,
        "a learner may abort"
    );
    Ok(())
}

/// The header with the token of a role.
pub(super) fn token(role: &str) -> Result<String> {
    let tokens: serde_json::Value = serde_json::from_str(&fs::read_to_string(TOKENS)?)?;
    let token = tokens[role].as_str().unwrap_or_default();
    Ok(format!("authorization: Bearer {token}"))
}

fn answers() -> Result<()> {
    let mut count = 0;
    for folder in fs::read_dir("/usr/lib/observastack/scenarios")? {
        let file = folder?.path().join("sealed.yaml");
        let file = file.to_string_lossy();
        let owner = command::output(&["stat", "--format=%U:%G %a", &file])?;
        ensure!(
            owner.trim() == "root:observastack-controller 640",
            "{file}: {owner}"
        );
        count += 1;
    }
    ensure!(count > 0, "there are no drills");
    Ok(())
}

//! Who may break things: root and the operators' group, nobody else.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command::{self, Ran},
    http::curl,
    lab::{self, CTL, INJECTOR_SOCKET},
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "refusals::a_user_outside_the_group_is_told_how_to_get_in",
            outsider,
        ),
        test("refusals::a_member_of_the_group_may", member),
        test(
            "refusals::a_service_that_has_the_group_from_its_unit_may",
            supplementary_group,
        ),
        test(
            "refusals::the_shops_own_user_may_not_touch_the_injector",
            shops_user,
        ),
        test(
            "refusals::the_injector_checks_the_caller_and_not_only_the_sockets_mode",
            peer_credentials,
        ),
    ]
}

fn as_user(user: &str, words: &[&str]) -> Result<Ran> {
    command::run(&[&["runuser", "-u", user, "--"], words].concat())
}

fn outsider() -> Result<()> {
    for words in [
        &["faults"][..],
        &["clear", "--all"],
        &["config", "get", "gateway"],
        &["config", "set", "api@1", "limits.max_page=9"],
    ] {
        let ran = as_user("nobody", &[&[CTL], words].concat())?;
        ran.expect(1)?;
        ran.says(&["no permission", "usermod -aG observastack"])?;
    }
    let ran = as_user(
        "nobody",
        &[
            CTL,
            "inject",
            "packet-loss",
            "--unit",
            lab::API_1,
            "--for",
            "10s",
        ],
    )?;
    ran.expect(1)?;
    ran.says(&["no permission for", INJECTOR_SOCKET])?;
    ensure!(
        lab::faults()?
            .iter()
            .all(|fault| fault["state"] != "active"),
        "a fault was injected"
    );
    ensure!(
        lab::config("api@1")?["source"] == "default",
        "a configuration was changed"
    );
    Ok(())
}

/// A user of the test's own, removed at the end.
struct User(&'static str);

impl User {
    fn add(name: &'static str) -> Result<Self> {
        let words = [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--groups",
            "observastack",
            name,
        ];
        command::output(&words)?;
        Ok(Self(name))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = command::run(&["userdel", self.0]);
    }
}

fn member() -> Result<()> {
    let user = User::add("e2e-operator")?;
    let ran = as_user(
        user.0,
        &[
            CTL,
            "--json",
            "inject",
            "packet-loss",
            "--unit",
            lab::API_1,
            "--port",
            "9",
            "--for",
            "10s",
        ],
    )?;
    ran.expect(0)?;
    as_user(user.0, &[CTL, "clear", "--all"])?.expect(0)?;
    as_user(
        user.0,
        &[CTL, "config", "set", "api@1", "limits.max_page=99"],
    )?
    .expect(0)?;
    ensure!(
        lab::config("api@1")?["config"]["limits"]["max_page"] == 99,
        "the change is not there"
    );
    as_user(user.0, &[CTL, "status"])?.expect(0)
}

fn supplementary_group() -> Result<()> {
    let unit = [
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        "--unit=e2e-supplementary-group",
        "--uid=nobody",
    ];
    let words = [
        &unit[..],
        &["--property=SupplementaryGroups=observastack"],
        &[CTL, "faults"],
    ];
    command::run(&words.concat())?.expect(0)?;
    // It is the group that lets it in.
    command::run(&[&unit[..], &[CTL, "faults"]].concat())?.expect(1)
}

fn shops_user() -> Result<()> {
    let ran = as_user("observastack-sut", &[CTL, "faults"])?;
    ran.expect(1)?;
    ran.says(&["no permission", INJECTOR_SOCKET])
}

fn peer_credentials() -> Result<()> {
    // The directory and the socket are opened to everybody for a moment, as an administrator's mistake may.
    let directory = "/run/observastack/injector";
    command::output(&["chmod", "0755", directory])?;
    command::output(&["chmod", "0666", INJECTOR_SOCKET])?;
    let asked = as_user(
        "nobody",
        &[
            "curl",
            "--silent",
            "--max-time",
            "10",
            "--unix-socket",
            INJECTOR_SOCKET,
            "http://localhost/faults",
        ],
    );
    command::output(&["chmod", "0660", INJECTOR_SOCKET])?;
    command::output(&["chmod", "0750", directory])?;
    let asked = asked?;
    asked.expect(0)?;
    let answer: serde_json::Value = serde_json::from_str(&asked.stdout)?;
    ensure!(
        answer["code"] == "forbidden"
            && answer["error"]
                .as_str()
                .is_some_and(|error| error.contains("observastack")),
        "{answer}"
    );
    curl(&["--unix-socket", INJECTOR_SOCKET, "http://localhost/faults"])?.expect(200)?;
    Ok(())
}

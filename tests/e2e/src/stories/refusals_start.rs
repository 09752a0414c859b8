//! Starts that are refused: a second injector, a port that is taken, a corrupt configuration, no root.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents, command,
    http::curl,
    journal,
    lab::{self, GATEWAY_BINARY, INJECTOR, INJECTOR_BINARY, SHOP},
    story::test,
    systemd,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "refusals::a_second_injector_names_the_first",
            second_injector,
        ),
        test(
            "refusals::an_injector_without_root_says_what_it_needs",
            no_root,
        ),
        test(
            "refusals::an_injector_with_a_corrupt_configuration_names_file_and_field",
            corrupt_injector,
        ),
        test(
            "refusals::a_gateway_whose_port_is_taken_names_the_address",
            port_taken,
        ),
        test("refusals::wrong_command_lines_exit_with_2", usage),
    ]
}

fn second_injector() -> Result<()> {
    let first = lab::main_process(INJECTOR)?;
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        lab::API_1,
        "--port",
        "9",
        "--for",
        "10m",
    ])?;
    let ran = command::run(&[INJECTOR_BINARY])?;
    ran.expect(1)?;
    ran.says(&[
        &format!("pid {}", first.as_raw_nonzero()),
        "systemctl stop observastack-injector",
    ])?;
    ensure!(
        lab::main_process(INJECTOR)? == first && systemd::is_active(INJECTOR)?,
        "the first injector is gone"
    );
    ensure!(lab::fault(id)?["state"] == "active", "its fault is gone");
    Ok(())
}

fn no_root() -> Result<()> {
    let ran = command::run(&["runuser", "-u", "nobody", "--", INJECTOR_BINARY])?;
    ran.expect(1)?;
    ran.says(&["root", "systemctl start observastack-injector"])
}

/// A file for a test, removed at the end of the tests with its directory.
fn scratch(name: &str, content: &str) -> Result<PathBuf> {
    let path = PathBuf::from(agents::DIRECTORY).join(name);
    fs::write(&path, content)?;
    Ok(path)
}

fn corrupt_injector() -> Result<()> {
    for (content, words) in [
        (
            "{\"target_slices\": [",
            ["line 1", "remove it to use the defaults"],
        ),
        (
            r#"{"target_slices": ["system.slice"]}"#,
            ["target_slices", "system.slice"],
        ),
        (r#"{"target_slices": []}"#, ["target_slices", "1 to 16"]),
        (
            r#"{"targets": ["shop.slice"]}"#,
            ["targets", "target_slices"],
        ),
    ] {
        let path = scratch("injector.json", content)?;
        let path = path.to_string_lossy();
        let ran = command::run(&[INJECTOR_BINARY, "--config", &path])?;
        ran.expect(1)?;
        ran.says(&[&path])?;
        ran.says(&words)?;
    }
    // The installed unit refuses as well, says so in its journal, and leaves nothing attached.
    let path = "/etc/observastack/injector.json";
    let good = fs::read_to_string(path)?;
    let restored = Restored {
        path,
        content: good,
    };
    systemd::stop(INJECTOR)?;
    fs::write(path, "{\"target_slices\": 7}")?;
    let mark = journal::mark()?;
    let started = command::run(&["systemctl", "start", INJECTOR])?;
    ensure!(started.code != 0, "the unit started");
    mark.wait_for(INJECTOR, "what is wrong with its configuration", |record| {
        let message = journal::message(record);
        message.contains(path) && message.contains("line 1")
    })?;
    let refused = lab::ctl_ran(&["status"])?;
    ensure!(
        refused.code == 1 && refused.stdout.contains("injector_error"),
        "{}",
        refused.stdout
    );
    drop(restored);
    command::output(&["systemctl", "reset-failed", INJECTOR])?;
    systemd::restart(INJECTOR)
}

/// Gives a file its content back when dropped.
struct Restored {
    path: &'static str,
    content: String,
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.path, &self.content) {
            eprintln!("cannot restore {}: {error}", self.path);
        }
    }
}

fn port_taken() -> Result<()> {
    let directory = PathBuf::from(agents::DIRECTORY).join("gateway");
    fs::create_dir_all(&directory)?;
    let directory = directory.to_string_lossy();
    let socket = format!("{directory}/admin.sock");
    let gateway = |listen: &str, ops: &str| {
        command::run(&[
            GATEWAY_BINARY,
            "--listen",
            listen,
            "--ops-listen",
            ops,
            "--state-dir",
            &directory,
            "--admin-socket",
            &socket,
            "--site-config",
            "/nonexistent.json",
        ])
    };
    for (listen, ops, taken) in [
        ("0.0.0.0:8000", "127.0.0.1:8999", "0.0.0.0:8000"),
        ("127.0.0.1:8998", "127.0.0.1:8001", "127.0.0.1:8001"),
    ] {
        let ran = gateway(listen, ops)?;
        ran.expect(1)?;
        ran.says(&[taken, "already in use"])?;
    }
    curl(&[&format!("{SHOP}/products?limit=1")])?.expect(200)?;
    Ok(())
}

fn usage() -> Result<()> {
    for words in [
        &[lab::CTL][..],
        &[lab::CTL, "explode"],
        &[lab::CTL, "inject", "packet-loss"],
        &[
            lab::CTL,
            "inject",
            "earthquake",
            "--unit",
            "a",
            "--for",
            "1s",
        ],
        &[lab::CTL, "clear"],
        &[lab::CTL, "clear", "first"],
        &[lab::CTL, "config", "set", "api@1"],
        &[lab::CTL, "config", "set", "api@1", "limits.max_page"],
        &[INJECTOR_BINARY, "--explode"],
        &[GATEWAY_BINARY, "--listen", "everywhere"],
    ] {
        let ran = command::run(words)?;
        ran.expect(2)?;
        ensure!(!ran.stderr.trim().is_empty(), "{} says nothing", ran.line);
    }
    Ok(())
}

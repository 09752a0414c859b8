//! Into the lab from here: `cargo xtask shell`, `ctl` and `status`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;

use crate::machine::{Kind, Name, State, nspawn, qemu};
use crate::run::Run;

/// A root shell, or one command: a single word is a line for the remote shell, several reach it as they are.
pub(crate) fn shell(command: &[String]) -> Result<ExitCode> {
    let state = State::need(Name::Lab)?;
    if command.is_empty() {
        return remote(
            &state,
            if state.user == "root" {
                "exec bash -l"
            } else {
                "exec sudo -i"
            },
            true,
        );
    }
    let line = match command {
        [line] => line.clone(),
        words => quoted(words),
    };
    remote(
        &state,
        &line,
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
    )
}

/// `observastack-ctl` in the lab, with its exit code.
pub(crate) fn ctl(args: &[String]) -> Result<ExitCode> {
    let state = State::need(Name::Lab)?;
    let sudo = if state.user == "root" { "" } else { "sudo " };
    remote(
        &state,
        &format!("{sudo}observastack-ctl {}", quoted(args)),
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
    )
}

/// What runs, and what the lab says about itself.
pub(crate) fn status() -> Result<ExitCode> {
    let Some(state) = State::load(Name::Lab)? else {
        println!("There is no lab: cargo xtask up makes one.");
        return Ok(ExitCode::SUCCESS);
    };
    let runs = match state.kind {
        Kind::Nspawn => nspawn::is_running(Name::Lab),
        Kind::Vm => qemu::is_running(Name::Lab),
        Kind::Host => true,
    };
    let kind = match state.kind {
        Kind::Nspawn => "systemd-nspawn",
        Kind::Vm => "QEMU",
        Kind::Host => "a machine of yours",
    };
    println!(
        "machine  {}@{} port {} ({kind}), {}",
        state.user,
        state.address,
        state.port,
        if runs {
            "running"
        } else {
            "not running: cargo xtask up starts it"
        }
    );
    println!("shop     {}/", state.shop);
    if runs {
        ctl(&["status".to_owned()])
    } else {
        Ok(ExitCode::FAILURE)
    }
}

fn remote(state: &State, command: &str, terminal: bool) -> Result<ExitCode> {
    let status = Run::new("ssh")
        .args(terminal.then_some("-t"))
        .args(state.ssh_options(Name::Lab))
        .arg(format!("{}@{}", state.user, state.address))
        .arg("--")
        .arg(command)
        .interactive()?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

/// The words as the remote shell has to see them.
fn quoted(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_reach_the_remote_shell_as_they_were_typed() {
        let words = ["it's", "$HOME", "a b", ""].map(str::to_owned);
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '<%s>' {}", quoted(&words))])
            .output()
            .expect("sh");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "<it's><$HOME><a b><>"
        );
    }
}

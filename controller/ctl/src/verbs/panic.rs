//! `panic`: end every fault now, and refuse new ones.

use std::{
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::Args;
use hyper::Method;
use observastack_spec::api::{ErrorCode, PanicStatus};
use serde_json::json;
use tokio::process::Command;

use crate::{client::Client, failure::Failure, output};

/// How long the injector may take before the faults are reverted without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// End every fault now, and refuse new ones until --lift.
///
/// Where the injector does not answer within 2 s, its program is run by itself to revert what the kernel does not undo.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo observastack-ctl panic
  sudo observastack-ctl panic --lift")]
pub(crate) struct Panic {
    /// Allow new faults again.
    #[arg(long, conflicts_with = "status")]
    lift: bool,
    /// Only tell whether new faults are refused.
    #[arg(long)]
    status: bool,
    /// The injector's program, for when the injector does not answer.
    #[arg(
        long,
        hide = true,
        value_name = "FILE",
        default_value = "/usr/lib/observastack/bin/observastack-injector"
    )]
    program: PathBuf,
}

/// Reverts, lifts or tells.
pub(crate) async fn run(panic: &Panic, injector: &Client, json: bool) -> Result<ExitCode, Failure> {
    let method = match (panic.lift, panic.status) {
        (true, _) => Method::DELETE,
        (false, true) => Method::GET,
        (false, false) => Method::POST,
    };
    let reverts = method == Method::POST;
    let patient = injector.clone().patient_for(PATIENCE);
    match patient
        .ask::<PanicStatus>(method, "/panic", None::<&()>)
        .await
    {
        Ok(status) => {
            if json {
                output::json(&status);
            } else {
                output::line(words(&status));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) if reverts && cannot_revert(&failure) => {
            eprintln!("warning: {failure}");
            offline(&panic.program, json).await
        }
        Err(failure) => Err(failure),
    }
}

/// Whether the injector is unable, not unwilling: who may not ask it may not revert around it either.
fn cannot_revert(failure: &Failure) -> bool {
    match failure {
        Failure::NotListening { .. } | Failure::Transport { .. } => true,
        Failure::Injector(body) => body.code == ErrorCode::Internal,
        _ => false,
    }
}

/// Reverts with the injector's program alone.
async fn offline(program: &Path, json: bool) -> Result<ExitCode, Failure> {
    let command = format!("{} revert --all --panic", program.display());
    if !json {
        output::line(format!("reverting without the injector: {command}"));
    }
    let ran = Command::new(program)
        .args(["revert", "--all", "--panic"])
        .stdin(Stdio::null())
        .output()
        .await;
    let ran = ran.map_err(|source| Failure::Io {
        what: format!("cannot run {command}"),
        source,
    })?;
    let told = String::from_utf8_lossy(&ran.stdout).trim_end().to_owned();
    let complaints = String::from_utf8_lossy(&ran.stderr).trim_end().to_owned();
    if json {
        output::json(&json!({
            "offline": true,
            "succeeded": ran.status.success(),
            "output": told,
            "errors": complaints,
        }));
    } else if !told.is_empty() {
        output::line(&told);
    }
    if !json && !complaints.is_empty() {
        eprintln!("{complaints}");
    }
    if ran.status.success() {
        if !json {
            output::line(
                "every fault is reverted; new ones are refused until `observastack-ctl panic --lift`",
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Ended(format!("{command}: {}", ran.status)))
}

fn words(status: &PanicStatus) -> String {
    if !status.panicked {
        return "new faults are allowed".to_owned();
    }
    let by = status
        .by_uid
        .map_or_else(String::new, |uid| format!(" by user {uid}"));
    format!(
        "panic{by}: {} faults ended; new ones are refused until `observastack-ctl panic --lift`",
        status.faults_ended
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use observastack_spec::api::ErrorBody;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    fn program(directory: &Path, exit: u8) -> PathBuf {
        let path = directory.join(format!("injector-{exit}"));
        let seen = directory.join("seen");
        let script = format!("#!/bin/sh\necho \"$@\" > {}\nexit {exit}\n", seen.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn panic(program: PathBuf) -> Panic {
        Panic {
            lift: false,
            status: false,
            program,
        }
    }

    /// Answers one request, or holds it for ever where there is nothing to say.
    fn serve(socket: &Path, answer: Option<&'static str>) {
        let listener = UnixListener::bind(socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
    }

    #[tokio::test]
    async fn without_an_injector_its_program_reverts() {
        let directory = tempfile::tempdir().unwrap();
        let client = Client::injector(&directory.path().join("none.sock"));
        let code = run(&panic(program(directory.path(), 0)), &client, false).await;
        assert_eq!(code.unwrap(), ExitCode::SUCCESS);
        let seen = fs::read_to_string(directory.path().join("seen")).unwrap();
        assert_eq!(seen, "revert --all --panic\n");
        let failure = run(&panic(program(directory.path(), 3)), &client, false).await;
        assert!(failure.unwrap_err().to_string().contains("exit status: 3"));
        let missing = run(&panic("/nonexistent/x".into()), &client, false).await;
        assert!(missing.unwrap_err().to_string().contains("/nonexistent/x"));
    }

    #[tokio::test]
    async fn a_hanging_injector_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hangs.sock");
        serve(&socket, None);
        let began = std::time::Instant::now();
        let client = Client::injector(&socket);
        let code = run(&panic(program(directory.path(), 0)), &client, true).await;
        assert_eq!(code.unwrap(), ExitCode::SUCCESS);
        assert!(began.elapsed() >= PATIENCE && began.elapsed() < PATIENCE * 3);
    }

    #[tokio::test]
    async fn an_injector_that_answers_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("answers.sock");
        let body = r#"{"panicked":true,"since_unix_ms":1,"by_uid":0,"faults_ended":2}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        serve(&socket, Some(answer.leak()));
        let code = run(
            &panic("/nonexistent/x".into()),
            &Client::injector(&socket),
            false,
        )
        .await;
        assert_eq!(code.unwrap(), ExitCode::SUCCESS);
    }

    #[test]
    fn a_refusal_is_not_gone_around() {
        let refusal = |code| {
            Failure::Injector(ErrorBody {
                error: String::new(),
                code,
                fields: Vec::new(),
            })
        };
        assert!(!cannot_revert(&refusal(ErrorCode::Forbidden)));
        assert!(!cannot_revert(&Failure::Forbidden("/x".into())));
        assert!(cannot_revert(&refusal(ErrorCode::Internal)));
    }

    #[test]
    fn the_state_is_told_in_words() {
        assert_eq!(words(&PanicStatus::default()), "new faults are allowed");
        let status = PanicStatus {
            panicked: true,
            since_unix_ms: Some(1),
            by_uid: Some(0),
            faults_ended: 3,
        };
        assert!(words(&status).contains("by user 0: 3 faults ended"));
    }
}

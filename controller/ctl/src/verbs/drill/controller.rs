//! The controller, which runs drills.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use hyper::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{client::Client, failure::Failure};

/// Where the controller is, and who asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Asking {
    /// Where the controller answers.
    #[arg(
        long,
        global = true,
        env = "OBSERVASTACK_CONTROLLER",
        default_value = "127.0.0.1:8080",
        hide_env = true
    )]
    controller: SocketAddr,
    /// The file with the token: the text itself, or JSON with one for each role. Without it /etc/observastack/tokens.json, or else learner.token beside it.
    #[arg(
        long,
        global = true,
        env = "OBSERVASTACK_TOKENS",
        value_name = "FILE",
        hide_env = true
    )]
    token_file: Option<PathBuf>,
}

/// Every role's token, for operators; and the learner's own.
const TOKEN_FILES: [&str; 2] = [
    "/etc/observastack/tokens.json",
    "/etc/observastack/learner.token",
];

/// The controller's API.
#[derive(Debug)]
pub(crate) struct Controller(Client);

impl Asking {
    /// The controller, asked with the most that the file has.
    pub(crate) fn controller(&self) -> Result<Controller, Failure> {
        let token = match &self.token_file {
            Some(file) => token(file)?,
            None => usual_token()?,
        };
        let client = Client::port(self.controller, "observastack-controller").with_token(token);
        // A submission is answered at once; a start may wait for the engine's slice.
        Ok(Controller(client.patient_for(Duration::from_secs(90))))
    }
}

fn token(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file).map_err(|source| Failure::Io {
        what: format!("cannot read the token ({})", file.display()),
        source,
    })?;
    Ok(most(&text))
}

/// The most that whoever runs this may read.
fn usual_token() -> Result<String, Failure> {
    let [operators, learners] = TOKEN_FILES.map(Path::new);
    token(operators).or_else(|failure| token(learners).map_err(|_| failure))
}

/// The token of the highest role that is there; a text that is no JSON is one itself.
fn most(text: &str) -> String {
    let tokens = serde_json::from_str::<Value>(text).unwrap_or_default();
    let roles = ["admin", "instructor", "learner"];
    let token = roles.iter().find_map(|role| tokens[*role].as_str());
    token.unwrap_or_else(|| text.trim()).to_owned()
}

impl Controller {
    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let body = self.bytes(Method::GET, path, Vec::new()).await?;
        serde_json::from_slice(&body)
            .map_err(|error| self.0.transport(format!("cannot read the answer: {error}")))
    }

    /// Reads a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let body = self.bytes(Method::GET, path, Vec::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Says something; how everything stands then.
    pub(crate) async fn say(
        &self,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Value, Failure> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.0.transport(error))?,
            None => Vec::new(),
        };
        let answer = self.bytes(Method::POST, path, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.0.transport(format!("cannot read the answer: {error}")))
    }

    async fn bytes(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (status, answer) = self.0.send(method, path, "application/json", body).await?;
        if status.is_success() {
            return Ok(answer.to_vec());
        }
        Err(refusal(status, &answer))
    }
}

/// A refusal in the controller's words: what is not right is the caller's.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = said["error"]
        .as_str()
        .map_or_else(|| format!("answered {status}"), str::to_owned);
    if status == StatusCode::BAD_REQUEST || said["code"] == "unknown-drill" {
        Failure::Usage(words)
    } else {
        Failure::Controller(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_text_or_the_highest_roles() {
        assert_eq!(most("a-token\n"), "a-token");
        assert_eq!(most(r#"{"learner": "l", "instructor": "i"}"#), "i");
        assert_eq!(most(r#"{"learner": "l", "admin": "a"}"#), "a");
    }

    #[test]
    fn an_unknown_drill_is_the_callers_fault_and_a_wrong_moment_is_not() {
        let unknown = br#"{"error":"there is no drill `b`","code":"unknown-drill"}"#;
        assert!(matches!(
            refusal(StatusCode::NOT_FOUND, unknown),
            Failure::Usage(_)
        ));
        let late = refusal(
            StatusCode::CONFLICT,
            br#"{"error":"the drill is over","code":"not-now"}"#,
        );
        assert_eq!(late.to_string(), "controller: the drill is over");
    }
}

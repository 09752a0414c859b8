//! Questions to the collector, which keeps the lab's traces, logs and profiles.

use std::net::SocketAddr;

use clap::Args;
use form_urlencoded::Serializer;
use hyper::{Method, Response, StatusCode, body::Incoming};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{client::Client, failure::Failure, sut::Service};

/// Where the collector answers questions.
pub(crate) const ADDRESS: &str = "127.0.0.1:4320";

/// The collector's query API.
#[derive(Clone, Debug)]
pub(crate) struct Collector(Client);

/// Which time is asked about; the collector reads the values and says what is wrong with them.
#[derive(Debug, Default, Args)]
pub(crate) struct Between {
    /// From when: how long ago (15m), or a time (2026-01-31T12:00:00Z).
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    /// Until when; now if left out.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// A query string in the making.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Adds what was given.
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Adds a range of time.
    pub(crate) fn between(self, between: &Between) -> Self {
        self.with("from", Some(&between.since))
            .with("to", between.until.as_ref())
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    fn on(&self, path: &str) -> String {
        let pairs = Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish();
        format!("{path}?{pairs}")
    }
}

/// How far one search got.
#[derive(Debug, Deserialize)]
struct Searched {
    complete: bool,
    searched_from_us: i64,
}

impl Collector {
    /// The one that listens there.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(Client::port(address, "observastack-collector"))
    }

    /// The answer to a question.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query,
    ) -> Result<T, Failure> {
        let (status, body) = self
            .0
            .send(Method::GET, &query.on(path), "application/json", Vec::new())
            .await?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        self.read(&body)
    }

    /// Searches until there are `limit` of what is listed as `key`, or nothing is left to look at: the collector answers in bounded time
    /// with how far it got.
    pub(crate) async fn search(
        &self,
        path: &str,
        mut query: Query,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        let mut found: Vec<Value> = Vec::new();
        loop {
            query.set("limit", (limit - found.len()).to_string());
            let mut answer: Value = self.ask(path, &query).await?;
            if let Some(Value::Array(more)) = answer.get_mut(key).map(Value::take) {
                // A trace may be met again in an older part of the store.
                for one in more {
                    if !found.contains(&one) {
                        found.push(one);
                    }
                }
            }
            let searched: Searched =
                serde_json::from_value(answer).map_err(|error| self.0.transport(error))?;
            if searched.complete || found.len() >= limit {
                return Ok(found);
            }
            query.set("to", searched.searched_from_us.to_string());
        }
    }

    /// An answer that goes on and on.
    pub(crate) async fn open(
        &self,
        path: &str,
        query: &Query,
    ) -> Result<Response<Incoming>, Failure> {
        use http_body_util::BodyExt;

        let answer = self
            .0
            .open(
                Method::GET,
                &query.on(path),
                "text/event-stream",
                Vec::new(),
            )
            .await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| self.0.transport(error))?.to_bytes();
        Err(refusal(status, &body))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        parsed(body).map_err(|error| self.0.transport(format!("cannot read the answer: {error}")))
    }
}

/// A refusal in the collector's words: a value that is not right is the caller's.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let said: Value = serde_json::from_slice(body).unwrap_or(json!({}));
    let said = said["error"]
        .as_str()
        .map_or_else(|| format!("the collector answered {status}"), str::to_owned);
    if status == StatusCode::BAD_REQUEST {
        Failure::Usage(said)
    } else {
        Failure::Collector(said)
    }
}

/// A unit as telemetry names it: `api@1` is `observastack-api@1.service`; other names stay as they are.
pub(crate) fn unit(name: &str) -> String {
    let full = format!("observastack-{}.service", short(name));
    if Service::of(&full).is_some() {
        full
    } else {
        name.to_owned()
    }
}

/// A unit as people name it: without `observastack-` and `.service`.
pub(crate) fn short(unit: &str) -> &str {
    let unit = unit.strip_suffix(".service").unwrap_or(unit);
    unit.strip_prefix("observastack-").unwrap_or(unit)
}

/// Reads JSON. A flame graph is as deep as its stacks are, which the collector cuts: deeper than 128, where the parser would stop.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    parser.disable_recursion_limit();
    let read = T::deserialize(&mut parser)?;
    parser.end()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_escaped_and_leaves_out_what_was_not_given() {
        let query = Query::default()
            .with("text", Some("a b&c=ä"))
            .with("unit", None::<&str>);
        assert_eq!(query.on("/api/logs"), "/api/logs?text=a+b%26c%3D%C3%A4");
    }

    #[test]
    fn an_answer_may_be_as_deep_as_the_deepest_stack() {
        let deep = format!("{}1{}", "[".repeat(520), "]".repeat(520));
        assert!(parsed::<Value>(deep.as_bytes()).is_ok());
        assert!(parsed::<Value>(b"[1] 2").is_err());
    }

    #[test]
    fn units_have_short_and_full_names() {
        for name in ["api@1", "observastack-api@1", "observastack-api@1.service"] {
            assert_eq!(unit(name), "observastack-api@1.service");
            assert_eq!(short(name), "api@1");
        }
        assert_eq!(unit("their-agent"), "their-agent");
    }

    #[test]
    fn a_refused_value_is_the_callers_and_nothing_else_is() {
        let body = br#"{"error":"limit=\"0\" is not right"}"#;
        assert!(matches!(
            refusal(StatusCode::BAD_REQUEST, body),
            Failure::Usage(_)
        ));
        assert_eq!(
            refusal(StatusCode::NOT_FOUND, b"x").to_string(),
            "collector: the collector answered 404 Not Found"
        );
    }
}

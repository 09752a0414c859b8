//! The shop's services: their configurations.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex};

use hyper::Method;
use observastack_spec::scenario::action::Config;
use serde_json::{Map, Value};

use super::{failed, http};
use crate::lab::LabError;

/// Services by their names in scenarios, with their folders.
const SERVICES: [(&str, &str); 5] = [
    ("gateway", "gateway"),
    ("inventory", "inventory"),
    ("worker", "worker"),
    ("api@1", "api-1"),
    ("api@2", "api-2"),
];

/// All of them.
#[derive(Debug)]
pub(super) struct Services {
    runtime: PathBuf,
    /// How they are configured usually.
    usual: Mutex<BTreeMap<String, Value>>,
}

impl Services {
    pub(super) fn new(runtime: PathBuf) -> Self {
        Self {
            runtime,
            usual: Mutex::default(),
        }
    }

    fn place(&self, folder: &str) -> http::Place {
        http::Place::Socket(self.runtime.join(folder).join("admin.sock"))
    }

    pub(super) async fn change(&self, config: &Config) -> Result<(), LabError> {
        let patch = Value::Object(patch(&config.set.value)).to_string();
        let name = config.service.as_str();
        for (service, folder) in SERVICES {
            let is_meant = service == name || (name == "api" && service.starts_with("api@"));
            if !is_meant {
                continue;
            }
            let answer = http::ask(
                &self.place(folder),
                Method::PATCH,
                "/config",
                "application/merge-patch+json",
                patch.clone().into_bytes(),
            )
            .await?;
            answer.ok(&format!("configure {service}"))?;
        }
        Ok(())
    }

    /// Gives every service its usual configuration; those that only take it at their next start.
    pub(super) async fn reset(&self) -> Result<Vec<String>, LabError> {
        let mut waiting = Vec::new();
        for (service, folder) in SERVICES {
            let kind = "application/json";
            let place = self.place(folder);
            let answer = http::ask(&place, Method::DELETE, "/config", kind, Vec::new()).await?;
            let what = format!("reset the configuration of {service}");
            answer.ok(&what)?;
            let view: Value = http::get(&place, "/config").await?.json(&what)?;
            let pending = view["pending_restart"].as_array();
            if pending.is_some_and(|fields| !fields.is_empty()) {
                waiting.push(service.to_owned());
            }
        }
        Ok(waiting)
    }

    /// One service's configuration now.
    async fn one(&self, service: &str, folder: &str) -> Result<Value, LabError> {
        let answer = http::get(&self.place(folder), "/config").await?;
        let view: Value = answer.json(&format!("the configuration of {service}"))?;
        Ok(view["config"].clone())
    }

    /// The configurations of those services that answer.
    pub(super) async fn now(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (service, folder) in SERVICES {
            if let Ok(config) = self.one(service, folder).await {
                all.insert(service.to_owned(), config);
            }
        }
        all
    }

    /// From now on, this is what is usual.
    pub(super) async fn remember(&self) -> Result<(), LabError> {
        let mut now = BTreeMap::new();
        for (service, folder) in SERVICES {
            now.insert(service.to_owned(), self.one(service, folder).await?);
        }
        let mut usual = self
            .usual
            .lock()
            .map_err(|_| failed("remember the configurations", "a thread has panicked"))?;
        *usual = now;
        Ok(())
    }

    /// What is usual; empty where nobody has looked yet.
    pub(super) fn usual(&self) -> BTreeMap<String, Value> {
        self.usual
            .lock()
            .map(|usual| usual.clone())
            .unwrap_or_default()
    }

    /// As an earlier controller has kept it.
    pub(super) fn recall(&self, kept: &Value) {
        if let (Ok(kept), Ok(mut usual)) = (
            serde_json::from_value::<BTreeMap<String, Value>>(kept.clone()),
            self.usual.lock(),
        ) {
            *usual = kept;
        }
    }
}

/// A merge patch: a dotted name is a path.
fn patch(set: &BTreeMap<String, Value>) -> Map<String, Value> {
    let mut root = Map::new();
    for (path, value) in set {
        put(&mut root, path, value);
    }
    root
}

fn put(at: &mut Map<String, Value>, path: &str, value: &Value) {
    let Some((first, rest)) = path.split_once('.') else {
        at.insert(path.to_owned(), value.clone());
        return;
    };
    let child = at
        .entry(first.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(child) = child {
        put(child, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dotted_name_is_a_path() {
        let set = [
            ("timeouts.read_ms".to_owned(), json!(5)),
            ("timeouts.write_ms".to_owned(), json!(6)),
            ("upstreams".to_owned(), json!([{"weight": 1}])),
        ];
        assert_eq!(
            Value::Object(patch(&set.into())),
            json!({"timeouts": {"read_ms": 5, "write_ms": 6}, "upstreams": [{"weight": 1}]})
        );
    }
}

//! The load generator.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use hyper::{Method, StatusCode};
use observastack_spec::{HumanDuration, drill::score::Impact, scenario::action::Load};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{IN_TIME, http};
use crate::lab::LabError;

/// Longer than any drill.
const LENGTH: &str = "12h";
/// The load generator says what it does now and then, and not the moment that it was told.
const SETTLES: Duration = Duration::from_secs(3);

/// The load generator.
#[derive(Debug)]
pub(super) struct LoadGenerator {
    place: http::Place,
    target: SocketAddr,
    asked: Mutex<Option<Asked>>,
}

/// A load as the lab has asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    shape: String,
    target: String,
    rate: Option<f64>,
    /// How long the rate takes to get there.
    #[serde(default)]
    over: Duration,
    /// What it was before, where that is known.
    #[serde(skip)]
    from: Option<f64>,
    /// When that was asked for, where it was this controller.
    #[serde(skip)]
    since: Option<Instant>,
}

/// What was measured in some seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Lately {
    pub(super) due: u64,
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) good: u64,
    pub(super) slow: u64,
    pub(super) quantile_ns: u64,
}

impl LoadGenerator {
    pub(super) fn new(socket: PathBuf, target: SocketAddr) -> Self {
        Self {
            place: http::Place::Socket(socket),
            target,
            asked: Mutex::default(),
        }
    }

    pub(super) async fn begin(&self, load: &Load) -> Result<(), LabError> {
        self.stop().await?;
        let path = format!("/v1/load?target=http://{}&for={LENGTH}", self.target);
        let shape = load.shape.value.clone().into_bytes();
        let answer = http::ask(&self.place, Method::PUT, &path, "text/plain", shape).await?;
        answer.ok("begin the load")?;
        let asked = Asked {
            shape: load.shape.value.clone(),
            target: self.target.to_string(),
            rate: None,
            over: Duration::ZERO,
            from: None,
            since: Some(Instant::now()),
        };
        self.ask_for(|now| *now = Some(asked));
        match &load.rate {
            Some(rate) => self.set_rate(rate.value, Duration::ZERO).await,
            None => Ok(()),
        }
    }

    /// Another rate, reached evenly over so long.
    pub(super) async fn set_rate(&self, per_second: f64, over: Duration) -> Result<(), LabError> {
        let mut change = json!({"rate": per_second});
        if !over.is_zero() {
            change["over"] = HumanDuration::from(over).to_string().into();
        }
        let change = change.to_string().into_bytes();
        let answer = http::ask(
            &self.place,
            Method::PATCH,
            "/v1/load",
            "application/json",
            change,
        )
        .await?;
        answer.ok("change the load's rate")?;
        self.ask_for(|now| {
            if let Some(asked) = now {
                // In the middle of another ramp nobody knows exactly where it is.
                let is_there = asked
                    .since
                    .is_none_or(|since| since.elapsed() > asked.over + SETTLES);
                asked.from = asked.rate.filter(|_| is_there || asked.over.is_zero());
                asked.rate = Some(per_second);
                asked.over = over;
                asked.since = Some(Instant::now());
            }
        });
        Ok(())
    }

    /// Ends it, if there is one.
    pub(super) async fn stop(&self) -> Result<(), LabError> {
        let answer = http::ask(
            &self.place,
            Method::DELETE,
            "/v1/load",
            "application/json",
            Vec::new(),
        )
        .await?;
        self.ask_for(|now| *now = None);
        if answer.status == StatusCode::CONFLICT {
            return Ok(());
        }
        answer.ok("end the load")
    }

    /// What was measured in the last seconds; 0 for all of them.
    pub(super) async fn lately(&self, seconds: u64, quantile: f64) -> Result<Lately, LabError> {
        let path = format!(
            "/v1/load/window?seconds={seconds}&in_time={}ms&quantile={quantile}",
            IN_TIME.as_millis()
        );
        http::get(&self.place, &path)
            .await?
            .json("the load's figures")
    }

    /// Orders that the shop has acknowledged since the load began: nothing else is answered with 201.
    pub(super) async fn placed(&self) -> Result<u64, LabError> {
        let status: Value = http::get(&self.place, "/v1/load").await?.json("the load")?;
        Ok(status["statuses"]["201"].as_u64().unwrap_or(0))
    }

    /// Since the load began.
    pub(super) async fn impact(&self) -> Result<Impact, LabError> {
        let all = self.lately(0, 0.5).await?;
        Ok(Impact {
            due: all.due,
            failed: all.errors,
            slow: all.slow,
        })
    }

    /// Whether it runs as the lab has asked for; if not, what is otherwise.
    pub(super) async fn is_as_asked(&self) -> Result<Result<(), String>, LabError> {
        let status: Value = http::get(&self.place, "/v1/load").await?.json("the load")?;
        let asked = self.asked();
        Ok(match asked {
            Some(asked) => differs(&asked, &status).map_or(Ok(()), Err),
            // A controller that knows nothing cannot tell more.
            None if status["phase"] == "running" => Ok(()),
            None => Err(format!("the load is {}", status["phase"])),
        })
    }

    /// What the lab has asked for.
    pub(super) fn asked(&self) -> Option<Asked> {
        self.asked.lock().ok()?.clone()
    }

    /// As an earlier controller has kept it.
    pub(super) fn recall(&self, kept: &Value) {
        if let (Ok(kept), Ok(mut asked)) = (
            serde_json::from_value::<Option<Asked>>(kept.clone()),
            self.asked.lock(),
        ) {
            // How far a ramp had come is not kept: it has its whole time once more.
            let begins_anew = |one: &Asked| (!one.over.is_zero()).then(Instant::now);
            *asked = kept.map(|one| Asked {
                since: begins_anew(&one),
                ..one
            });
        }
    }

    fn ask_for(&self, change: impl FnOnce(&mut Option<Asked>)) {
        if let Ok(mut asked) = self.asked.lock() {
            change(&mut asked);
        }
    }
}

impl Asked {
    /// Whether a ramp can be there after so long, or could have been a little earlier. Where it began is not always known.
    fn may_be(&self, rate: &Value, elapsed: Duration) -> bool {
        let (Some(from), Some(to), Some(rate)) = (self.from, self.rate, rate.as_f64()) else {
            return true;
        };
        let at = |elapsed: Duration| {
            let share = elapsed.as_secs_f64() / self.over.as_secs_f64().max(f64::MIN_POSITIVE);
            from + (to - from) * share.min(1.0)
        };
        // It may have begun before that was answered, and figures may be a little old.
        let (early, late) = (at(elapsed.saturating_sub(SETTLES)), at(elapsed + SETTLES));
        let rounding = 1e-6 * rate.abs().max(1.0);
        (early.min(late) - rounding..=early.max(late) + rounding).contains(&rate)
    }
}

/// What differs from what was asked for.
fn differs(asked: &Asked, status: &Value) -> Option<String> {
    if status["phase"] != "running" {
        return Some(format!("the load is {}", status["phase"]));
    }
    if status["name"] != asked.shape.as_str() {
        return Some(format!("the load is another one: {}", status["name"]));
    }
    let target = status["target"].as_str().unwrap_or_default();
    if !target.contains(&asked.target) {
        return Some(format!("the load goes to {target}"));
    }
    let elapsed = asked.since.map(|since| since.elapsed());
    if elapsed.is_some_and(|elapsed| elapsed < SETTLES) {
        return None;
    }
    let is_rate = match (asked.rate, elapsed) {
        (Some(rate), Some(elapsed)) if elapsed < asked.over + SETTLES => {
            status["rate_goal"].as_f64() == Some(rate) && asked.may_be(&status["rate"], elapsed)
        }
        (Some(rate), _) => status["rate"].as_f64() == Some(rate),
        (None, _) => status["rate_is_set"] == false,
    };
    (!is_rate).then(|| format!("the load's rate is {}", status["rate"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_somebody_has_changed_is_noticed() {
        let asked = Asked {
            shape: "steady".to_owned(),
            target: "127.0.0.1:8000".to_owned(),
            rate: Some(40.0),
            over: Duration::ZERO,
            from: None,
            since: None,
        };
        let status = |key: &str, value: Value| {
            let mut status = json!({"phase": "running", "name": "steady", "target": "http://127.0.0.1:8000/", "rate": 40.0, "rate_is_set": true});
            status[key] = value;
            status
        };
        assert_eq!(differs(&asked, &status("rate", json!(40.0))), None);
        for (key, value) in [
            ("phase", json!("paused")),
            ("name", json!("gentle")),
            ("target", json!("http://127.0.0.1:9000/")),
            ("rate", json!(0.2)),
        ] {
            assert!(differs(&asked, &status(key, value)).is_some(), "{key}");
        }
        let just_now = Asked {
            since: Some(Instant::now()),
            ..asked.clone()
        };
        assert_eq!(differs(&just_now, &status("rate", json!(25.0))), None);
        assert!(differs(&just_now, &status("phase", json!("paused"))).is_some());
        let usual = Asked {
            rate: None,
            ..asked
        };
        assert!(differs(&usual, &status("rate", json!(3.0))).is_some());
        assert_eq!(differs(&usual, &status("rate_is_set", json!(false))), None);
    }

    #[test]
    fn a_load_may_be_where_its_ramp_is() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let asked = |from, seconds| Asked {
            shape: "steady".to_owned(),
            target: "127.0.0.1:8000".to_owned(),
            rate: Some(240.0),
            over: Duration::from_secs(100),
            from,
            since: ago(seconds),
        };
        let status = |rate: f64, goal: f64| json!({"phase": "running", "name": "steady", "target": "http://127.0.0.1:8000/", "rate": rate, "rate_goal": goal, "rate_is_set": true});
        let differs = |asked: Asked, rate, goal| differs(&asked, &status(rate, goal)).is_some();
        // 40 to 240 in 100 s: 140 after 50 s.
        assert!(!differs(asked(Some(40.0), 50), 139.0, 240.0));
        assert!(differs(asked(Some(40.0), 50), 40.0, 240.0));
        assert!(differs(asked(Some(40.0), 50), 240.0, 240.0));
        assert!(differs(asked(Some(40.0), 50), 139.0, 140.0));
        // Nobody knows where it began, but where it goes.
        assert!(!differs(asked(None, 50), 10.0, 240.0));
        assert!(differs(asked(None, 50), 10.0, 10.0));
        // It is there.
        assert!(!differs(asked(Some(40.0), 101), 240.0, 240.0));
        assert!(differs(asked(Some(40.0), 104), 139.0, 240.0));
        // A controller that begins anew does not know how far it had come.
        let lab = LoadGenerator::new(PathBuf::new(), ([127, 0, 0, 1], 8000).into());
        lab.recall(&serde_json::to_value(Some(asked(Some(40.0), 60))).unwrap());
        let recalled = lab.asked().unwrap();
        assert!(recalled.since.is_some() && recalled.from.is_none());
        lab.recall(&json!({"shape": "steady", "target": "127.0.0.1:8000", "rate": 40.0}));
        assert!(lab.asked().unwrap().since.is_none());
    }
}

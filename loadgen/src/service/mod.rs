//! Load on demand: one run at a time, driven by somebody else over HTTP (see [`routes`] for what can be asked for).
//!
//! ```text
//! routes ──(bounded channel)──> driver: owns the run, looks at it every tenth of a second
//!    └────── state: what was asked for, the last figures, the last report
//! ```

mod driver;
mod routes;
mod window;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use crate::{
    engine::Plan,
    metrics::Exposed,
    report::{Moment, Report},
    shape::Shape,
    threshold::Threshold,
};
pub use routes::router;
pub use window::Lately;
use window::Window;

/// Lines of statistics that a listener may be behind.
const BEHIND: usize = 64;

/// What becomes of the service's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There is none, and there was none.
    #[default]
    Idle,
    /// Journeys begin.
    Running,
    /// None begins, on somebody's wish.
    Paused,
    /// None begins any more; the last answers are waited for.
    Stopping,
    /// It is over, and there is a report.
    Over,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// See [`Phase`].
    pub phase: Phase,
    /// The shape's name.
    pub name: Option<String>,
    /// Where the requests go.
    pub target: Option<String>,
    /// How long it has been running.
    pub elapsed_s: f64,
    /// How long it takes.
    pub length_s: f64,
    /// Journeys a second that are asked for; none in a closed loop.
    pub rate: Option<f64>,
    /// Whether somebody has set that rate instead of the shape's.
    pub rate_is_set: bool,
    /// Where a rate that somebody has set goes; it is there where both are the same.
    pub rate_goal: Option<f64>,
    /// Requests that were due.
    pub due: u64,
    /// Answers.
    pub answered: u64,
    /// Errors of every kind.
    pub errors: u64,
    /// Answers by their status.
    pub statuses: BTreeMap<u16, u64>,
    /// Why it could not go on.
    pub failure: Option<String>,
}

/// What the driver is asked for.
#[derive(Debug)]
enum Wish {
    Change(Change),
    Stop,
}

/// What is to be otherwise; what is not there stays as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    rate: Option<NewRate>,
    is_paused: Option<bool>,
}

/// Another rate.
#[derive(Clone, Copy, Debug)]
enum NewRate {
    /// The shape's own.
    Shape,
    /// So many journeys a second, reached evenly over so long.
    Set { per_second: f64, over: Duration },
}

/// A load that has been accepted.
struct Load {
    shape: Shape,
    plan: Plan,
}

/// The service; clones are the same one.
#[derive(Clone, Debug)]
pub struct Service {
    state: Arc<Mutex<State>>,
    statistics: broadcast::Sender<Arc<Moment>>,
    exposed: Exposed,
    /// Threads of a run.
    workers: usize,
}

#[derive(Debug, Default)]
struct State {
    status: Status,
    driver: Option<mpsc::Sender<Wish>>,
    report: Option<Arc<Report>>,
    thresholds: Vec<Threshold>,
    window: Window,
}

impl Service {
    /// One without a load.
    #[must_use]
    pub fn new(exposed: Exposed, workers: usize) -> Self {
        Self {
            state: Arc::default(),
            statistics: broadcast::channel(BEHIND).0,
            exposed,
            workers,
        }
    }

    /// Ends the load, if there is one, and waits for its last answers.
    pub async fn shut_down(&self) {
        let Some(driver) = self.driver() else {
            return;
        };
        // An error means that it has just ended.
        let _ = driver.send(Wish::Stop).await;
        driver.closed().await;
    }

    fn driver(&self) -> Option<mpsc::Sender<Wish>> {
        self.lock()
            .driver
            .clone()
            .filter(|driver| !driver.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

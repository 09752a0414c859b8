//! The lab as it is: what a run needs, from the units' own sockets.
//!
//! - [`http`]: one request to a socket or a port; [`load`], [`faults`], [`services`], [`units`], [`database`], [`prometheus`], [`memory`]: one part of the lab each;
//! - [`checks`]: checks by these; [`invariants`]: what has to be true of the shop's data; [`shortcuts`]: what makes figures good and users none the happier.

mod checks;
mod database;
mod faults;
mod http;
mod invariants;
mod load;
mod memory;
mod prometheus;
mod services;
mod shortcuts;
mod units;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Mutex, time::Duration};

use observastack_spec::{
    drill::score::Impact,
    fault::FaultRequest,
    scenario::{
        action::{Config, FileState, Load, Rate},
        check::Check,
        sealed::Shortcut,
    },
};

use self::{
    database::Database, faults::Injector, load::LoadGenerator, prometheus::Prometheus,
    services::Services,
};
use crate::lab::{Found, Lab, LabError, Undo};

/// What comes later than this is too late for whoever waits for it.
const IN_TIME: Duration = Duration::from_secs(1);

/// What rests after failures, or was given up, is tried at once: a queue of the drill before is no part of the next one's baseline. A claim that is alive has failed
/// nothing yet, or counts its attempts on, so that what becomes of it is told from what becomes of the next.
const QUEUE_ANEW: &str = "UPDATE shop.confirmations SET attempts = CASE WHEN due_at = 'infinity' THEN 0 ELSE attempts END, due_at = now() \
     WHERE sent_at IS NULL AND last_error IS NOT NULL AND due_at > now() AND EXISTS (SELECT FROM shop.orders WHERE id = order_id)";

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where services have their admin sockets, a folder each.
    pub runtime: PathBuf,
    /// The injector's socket.
    pub injector: PathBuf,
    /// The load generator's.
    pub loadgen: PathBuf,
    /// Prometheus.
    pub prometheus: SocketAddr,
    /// The gateway.
    pub gateway: SocketAddr,
    /// The shop's database, as libpq's connection strings have it.
    pub database: String,
}

/// The lab.
#[derive(Debug)]
pub struct RealLab {
    load: LoadGenerator,
    injector: Injector,
    services: Services,
    prometheus: Prometheus,
    database: Database,
    gateway: http::Place,
    /// How the shop's data were before the load began.
    data_before: Mutex<Option<invariants::Before>>,
}

impl RealLab {
    /// The one at these places.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self {
            load: LoadGenerator::new(places.loadgen, places.gateway),
            injector: Injector::new(places.injector),
            services: Services::new(places.runtime),
            prometheus: Prometheus::new(places.prometheus),
            database: Database::new(places.database),
            gateway: http::Place::Port(places.gateway),
            data_before: Mutex::default(),
        }
    }

    fn data_before(&self) -> Option<invariants::Before> {
        self.data_before.lock().ok()?.clone()
    }

    fn note_data_before(&self, data: Option<invariants::Before>) {
        if let Ok(mut before) = self.data_before.lock() {
            *before = data;
        }
    }
}

/// An error of the lab's, in words.
fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> LabError {
    LabError {
        what: what.into(),
        reason: reason.to_string(),
    }
}

impl Lab for RealLab {
    async fn lacks(&self, capabilities: &[&str], faults: &[&str]) -> Result<Vec<String>, LabError> {
        if capabilities.is_empty() && faults.is_empty() {
            return Ok(Vec::new());
        }
        // The preparation would have started it, too.
        units::be_started("injector").await?;
        self.injector.lacks(capabilities, faults).await
    }

    async fn memory_mib(&self) -> Result<u64, LabError> {
        memory::mib()
    }

    async fn begin_load(&self, load: &Load) -> Result<(), LabError> {
        // Before the first one that is counted; more that are placed until then are no loss. Where the database is what is broken, nobody knows, and no
        // order can be missed.
        // A load that begins within a run counts anew what was placed, and forgives nothing.
        let before = match self.data_before() {
            Some(before) => Some(before.counting_from_now(&self.database).await),
            None => invariants::look(&self.database).await.ok(),
        };
        self.note_data_before(before);
        self.load.begin(load).await
    }

    async fn set_rate(&self, rate: &Rate) -> Result<(), LabError> {
        let over = rate.over.as_ref().map(|over| over.get());
        self.load
            .set_rate(rate.per_second.value, over.unwrap_or_default())
            .await
    }

    async fn stop_load(&self) -> Result<(), LabError> {
        self.load.stop().await
    }

    async fn configure(&self, config: &Config) -> Result<(), LabError> {
        self.services.change(config).await
    }

    async fn restart(&self, unit: &str) -> Result<(), LabError> {
        units::run("restart", unit).await
    }

    async fn inject(&self, fault: FaultRequest) -> Result<u64, LabError> {
        self.injector.inject(&fault).await
    }

    async fn clear(&self, id: u64) -> Result<(), LabError> {
        self.injector.clear(id).await
    }

    async fn sql(&self, statements: &str, hold: bool) -> Result<(), LabError> {
        self.database.run(statements, hold).await
    }

    async fn file(&self, state: &FileState) -> Result<(), LabError> {
        Err(failed(
            format!("{:?}", state.file),
            "this lab cannot change files yet",
        ))
    }

    async fn check(
        &self,
        check: &Check,
        faults: &BTreeMap<String, u64>,
    ) -> Result<Found, LabError> {
        checks::look(self, check, faults).await
    }

    async fn in_force(&self) -> Result<Vec<u64>, LabError> {
        self.injector.active().await
    }

    fn usual(&self) -> serde_json::Value {
        serde_json::json!({
            "services": self.services.usual(), "load": self.load.asked(), "data_before": self.data_before(),
        })
    }

    fn recall(&self, usual: &serde_json::Value) {
        self.services.recall(&usual["services"]);
        self.load.recall(&usual["load"]);
        self.note_data_before(serde_json::from_value(usual["data_before"].clone()).ok());
    }

    async fn impact(&self) -> Result<Impact, LabError> {
        self.load.impact().await
    }

    async fn shortcuts(&self) -> Result<Vec<(Shortcut, String)>, LabError> {
        shortcuts::look(self).await
    }

    async fn broken_invariants(&self) -> Result<Vec<String>, LabError> {
        // First what clients were told, then what is there: what is placed in between is no loss.
        let placed = self.load.placed().await?;
        invariants::broken(&self.database, placed, self.data_before().as_ref()).await
    }

    async fn reset(&self, undo: &[Undo]) -> Result<(), LabError> {
        self.note_data_before(None);
        // First what acts on everything else; then what has to run for the rest.
        for unit in units::CONTROL {
            units::be_started(unit).await?;
        }
        self.injector.clear_all().await?;
        self.injector.lift_panic().await?;
        // What it was worth is known by now, and what is taken back need not wait for the load's own work.
        self.load.stop().await?;
        self.database.end_sessions().await;
        // A pool that was made larger may have taken every connection of the database. What cannot be
        // done now is done below.
        let _ = self.give_configurations_back().await;
        // The database alone: what has been done to it may be what keeps the others from starting.
        units::be_started("postgresql").await?;
        for one in undo {
            match one {
                Undo::Sql { statements } => self.database.run(statements, false).await?,
                Undo::File { file } => {
                    return Err(failed(
                        format!("{file:?}"),
                        "this lab cannot change files yet",
                    ));
                }
            }
        }
        for unit in units::SHOP.into_iter().chain(units::TELEMETRY) {
            units::be_started(unit).await?;
        }
        self.give_configurations_back().await?;
        self.database.run(QUEUE_ANEW, false).await?;
        self.verify().await
    }
}

impl RealLab {
    /// Gives every service its usual configuration, with a restart where that is needed.
    async fn give_configurations_back(&self) -> Result<(), LabError> {
        for unit in self.services.reset().await? {
            units::run("restart", &unit).await?;
        }
        Ok(())
    }

    /// Whether everything is as usual; what is not, in words.
    async fn verify(&self) -> Result<(), LabError> {
        let active = self.injector.active().await?;
        if !active.is_empty() {
            return Err(failed("reset", format!("faults {active:?} are in force")));
        }
        if let Some(unit) = units::stopped().await?.first() {
            return Err(failed("reset", format!("{unit} does not run")));
        }
        self.services.remember().await
    }
}

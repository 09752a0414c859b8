//! Tells whoever sends confirmations that there are new ones.

use std::sync::Arc;

use observastack_kit::database::{Database, DatabaseError, Statement};
use observastack_telemetry::traces;
use tokio::sync::Notify;

const ANNOUNCE_CONFIRMATION: Statement = Statement {
    name: "announce_confirmation",
    // Not in the order's transaction: one that notifies has a lock of the whole server from before its commit is flushed to
    // the disk until after, so orders would be flushed one by one.
    sql: "NOTIFY confirmations",
};

/// Tells of new orders, one statement at a time however many there are. No order waits for it, and whoever sends looks now
/// and then all the same. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Announcer(Arc<Notify>);

impl Announcer {
    /// Starts to tell, for as long as the process runs. Needs a tokio runtime.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let wanted = Arc::new(Notify::new());
        let wait = Arc::clone(&wanted);
        tokio::spawn(traces::unrecorded().around(async move {
            loop {
                wait.notified().await;
                if let Err(error) = announce(&database).await {
                    tracing::debug!(%error, "nobody is told of a new confirmation");
                }
            }
        }));
        Announcer(wanted)
    }

    /// There is a new one.
    pub fn announce(&self) {
        self.0.notify_one();
    }
}

async fn announce(database: &Database) -> Result<(), DatabaseError> {
    database
        .acquire()
        .await?
        .query(ANNOUNCE_CONFIRMATION, &[])
        .await
        .map(drop)
}

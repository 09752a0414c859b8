//! Hears of `NOTIFY` on a connection of its own: a nudge to look, never the only reason to.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;

use super::error::{DatabaseError, describe};
use super::pool::Database;

/// Between attempts to listen again.
const RETRY: Duration = Duration::from_secs(1);

/// Listens to one channel for as long as it is kept.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Begins to listen, and begins again whenever the connection is lost. What is sent meanwhile is not heard, so whoever
    /// waits has to look now and then all the same. Needs a tokio runtime. `channel` is an identifier, not quoted.
    #[must_use]
    pub fn start(database: Database, channel: &'static str) -> Self {
        let heard = Arc::new(Notify::new());
        let task = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                loop {
                    let Err(error): Result<Infallible, DatabaseError> =
                        listen(&database, channel, &heard).await;
                    tracing::debug!(channel, %error, "not listening");
                    tokio::time::sleep(RETRY).await;
                }
            }
        });
        Self { heard, task }
    }

    /// Waits until something was heard since the last time.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the connection, which is an error: nobody else ends it.
async fn listen(
    database: &Database,
    channel: &str,
    heard: &Notify,
) -> Result<Infallible, DatabaseError> {
    let unreachable = |reason| DatabaseError::Unreachable { reason };
    let (client, mut connection) = database.connect_undriven().await?;
    let statement = format!("LISTEN {channel}");
    let hear = async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => heard.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(unreachable(describe(&error))),
                None => return Err(unreachable("the connection has ended".to_owned())),
            }
        }
    };
    let ask = async {
        client
            .batch_execute(&statement)
            .await
            .map_err(|error| unreachable(describe(&error)))?;
        // What came before we listened was not heard.
        heard.notify_one();
        std::future::pending().await
    };
    tokio::select! {
        ended = hear => ended,
        ended = ask => ended,
    }
}

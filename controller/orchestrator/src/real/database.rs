//! The shop's database.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::failed;
use crate::lab::LabError;

/// How long statements may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    connection: String,
    /// Sessions that are kept open.
    held: Mutex<Vec<Held>>,
}

/// The server's words, which the error itself keeps to its source.
fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => error.to_string(),
    }
}

struct Held(Client);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl Database {
    pub(super) fn new(connection: String) -> Self {
        Self {
            connection,
            held: Mutex::default(),
        }
    }

    async fn connect(&self) -> Result<Client, LabError> {
        let what = "connect to the shop's database";
        let connected = tokio_postgres::connect(&self.connection, NoTls);
        let (client, connection) = tokio::time::timeout(TIMEOUT, connected)
            .await
            .map_err(|_| failed(what, "it does not answer"))?
            .map_err(|error| failed(what, reason(&error)))?;
        // It ends with the client.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session with the shop's database has ended");
            }
        });
        Ok(client)
    }

    /// Runs statements; with `hold`, their session stays.
    pub(super) async fn run(&self, statements: &str, hold: bool) -> Result<(), LabError> {
        let what = "change the shop's database";
        let client = self.connect().await?;
        // What is not waited for must not go on, and be done after it was taken back.
        let limit = format!("SET statement_timeout = '{}s'", TIMEOUT.as_secs() - 5);
        client
            .batch_execute(&limit)
            .await
            .map_err(|error| failed(what, reason(&error)))?;
        tokio::time::timeout(TIMEOUT, client.batch_execute(statements))
            .await
            .map_err(|_| failed(what, "the statements take too long"))?
            .map_err(|error| failed(what, reason(&error)))?;
        if hold {
            self.held.lock().await.push(Held(client));
        }
        Ok(())
    }

    /// Ends the sessions that were kept.
    pub(super) async fn end_sessions(&self) {
        for Held(client) in self.held.lock().await.drain(..) {
            drop(client);
        }
    }

    /// The one value that a query gives.
    pub(super) async fn value(&self, query: &str) -> Result<String, LabError> {
        let what = "ask the shop's database";
        let client = self.connect().await?;
        let messages = tokio::time::timeout(TIMEOUT, client.simple_query(query))
            .await
            .map_err(|_| failed(what, "the query takes too long"))?
            .map_err(|error| failed(what, reason(&error)))?;
        let first = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
            _ => None,
        });
        first.ok_or_else(|| failed(what, "the query gives no row"))
    }
}

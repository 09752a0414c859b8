//! Connections for reading, a few: a question waits for one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::{StoreError, open_reader};

/// Questions at once.
const READERS: usize = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// SQLite says no.
    #[error("the store cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread ended.
    #[error("the store's reader stopped")]
    Stopped,
}

/// The connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
}

impl Pool {
    /// Opens them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let connections: Vec<_> = (0..READERS)
            .map(|_| open_reader(directory))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            connections: Arc::new(Mutex::new(connections)),
            free: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Asks a question on a thread that may block.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_| ReadError::Stopped)?;
        let connections = Arc::clone(&self.connections);
        let answer = tokio::task::spawn_blocking(move || {
            let mut pool = connections.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = pool.pop();
            drop(pool);
            let connection = connection.ok_or(ReadError::Stopped)?;
            let answer = question(&connection).map_err(ReadError::from);
            let mut pool = connections.lock().unwrap_or_else(PoisonError::into_inner);
            pool.push(connection);
            drop(pool);
            drop(permit);
            answer
        });
        answer.await.map_err(|_| ReadError::Stopped)?
    }
}

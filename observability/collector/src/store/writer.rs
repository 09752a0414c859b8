//! The one writer: gathers what is queued, commits it, keeps the bounds.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::broadcast;

use super::calls::Calls;
use super::insert::Inserter;
use super::reserve::Reserve;
use super::{Bounds, StoreError, now_ns, retention};
use crate::intake::{Message, Outlet, Place};
use crate::metrics::Metrics;
use crate::model::{Batch, LogRow};

/// Log lines as they are committed, for live tails.
pub type Tail = broadcast::Sender<Arc<[LogRow]>>;

/// How many rows one transaction takes at most, about.
const TRANSACTION_ITEMS: usize = 8_192;
/// And how many bytes; a small store's transactions are an eighth of it at most, which is how far it may be above its bound.
const TRANSACTION_BYTES: u64 = 4 << 20;
/// How long the first row waits for others: well below the second that a kill may cost.
const GATHER: Duration = Duration::from_millis(200);
/// How often the bounds are looked at when nothing comes.
const IDLE: Duration = Duration::from_secs(1);
/// Time for deletion between two transactions: the queue must not wait for long.
const DELETING: Duration = Duration::from_millis(150);
/// Slices that make room on a full disk before the batch is given up.
const RESCUE_SLICES: usize = 64;
/// How long a call waits for its caller's span.
const CALLER_NS: i64 = 120_000_000_000;
/// How often a condition that lasts is told again.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the writer is made of.
#[derive(Debug)]
pub struct WriterOptions {
    /// The store's directory.
    pub directory: PathBuf,
    /// Its bounds.
    pub bounds: Bounds,
    /// Where live tails listen.
    pub tail: Tail,
    /// Counters.
    pub metrics: Metrics,
}

/// The writer's state; [`Self::run`] is its thread.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    inserter: Inserter,
    calls: Calls,
    reserve: Reserve,
    options: WriterOptions,
    warned: Option<Instant>,
    is_full: bool,
}

impl Writer {
    /// Opens the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(options: WriterOptions) -> Result<Self, StoreError> {
        let connection = super::open(&options.directory)?;
        let inserter = Inserter::open(&connection).map_err(|source| StoreError::Sqlite {
            path: super::file(&options.directory),
            source,
        })?;
        Ok(Self {
            connection,
            inserter,
            calls: Calls::default(),
            reserve: Reserve::open(&options.directory),
            options,
            warned: None,
            is_full: false,
        })
    }

    /// Writes until the intake is closed, then what is left, and ends.
    pub fn run(mut self, outlet: &Outlet) {
        let transaction_bytes = TRANSACTION_BYTES.min(self.options.bounds.bytes / 8);
        let mut open = true;
        while open {
            let (batches, more) = gather(&outlet.0, transaction_bytes);
            open = more;
            // Before it is written: the file never shrinks, so it must not grow first.
            self.keep_bounds(batches.iter().map(|(batch, _)| batch.bytes()).sum());
            self.write(&batches);
        }
        self.calls.give_up_all();
        self.write(&[]);
        // The next start has less to recover; a failure costs only that.
        let _ = self.checkpoint();
    }

    /// Commits the batches, or counts them as dropped.
    fn write(&mut self, batches: &[(Batch, Place)]) {
        for (batch, _) in batches {
            self.calls.add(batch);
        }
        self.calls
            .give_up_before(now_ns().saturating_sub(CALLER_NS));
        let committed = match self.commit(batches) {
            Err(error) if is_full(&error) => {
                self.warn(&error);
                self.make_room();
                self.commit(batches)
            }
            first => first,
        };
        match committed {
            Ok(()) => self.after_commit(batches),
            Err(error) => {
                let reason = if is_full(&error) {
                    "disk_full"
                } else {
                    "store_error"
                };
                self.warn(&error);
                for (batch, _) in batches {
                    let metrics = &self.options.metrics;
                    metrics.dropped(batch.signal(), reason, batch.items());
                }
            }
        }
        self.calls.written();
    }

    fn commit(&mut self, batches: &[(Batch, Place)]) -> rusqlite::Result<()> {
        let committed = (|| {
            let transaction = self.connection.transaction()?;
            for (batch, _) in batches {
                self.inserter.insert(&transaction, batch)?;
            }
            self.calls.write(&transaction)?;
            transaction.commit()
        })();
        if committed.is_err() {
            self.inserter.forget();
        }
        committed
    }

    fn after_commit(&mut self, batches: &[(Batch, Place)]) {
        if self.is_full && !batches.is_empty() {
            self.is_full = false;
            self.warned = None;
            tracing::info!("the store can be written again");
        }
        for (batch, _) in batches {
            self.options.metrics.stored(batch.signal(), batch.items());
            if let Batch::Logs(rows) = batch
                && self.options.tail.receiver_count() > 0
            {
                // An error means that the last listener has just gone.
                let _ = self.options.tail.send(rows.as_slice().into());
            }
        }
    }

    /// The disk is full: gives up the reserve, and the oldest rows, so that the newest can be written.
    fn make_room(&mut self) {
        self.reserve.release();
        // Frees the WAL's room where all of it is in the database already.
        let _ = self.checkpoint();
        for _ in 0..RESCUE_SLICES {
            if !self.delete_slice("disk") {
                break;
            }
        }
        let _ = self.checkpoint();
    }

    /// Deletes what has to go when so many bytes are about to come.
    fn keep_bounds(&mut self, coming_bytes: usize) {
        // Pages are not filled, and there are indices.
        let coming_bytes = (coming_bytes as u64).saturating_mul(2);
        let began = Instant::now();
        while began.elapsed() < DELETING {
            let bounds = &self.options.bounds;
            let directory = &self.options.directory;
            match retention::reason(&self.connection, directory, bounds, coming_bytes) {
                Ok(Some(reason)) => {
                    if reason == "disk" {
                        self.warn_of_disk();
                    }
                    if !self.delete_slice(reason) {
                        break;
                    }
                }
                Ok(None) => {
                    if !self.is_full {
                        self.reserve.hold();
                    }
                    break;
                }
                Err(error) => {
                    self.warn(&error);
                    break;
                }
            }
        }
        if let Ok(fill) = retention::fill(&self.connection) {
            let bytes = i64::try_from(fill.used_bytes).unwrap_or(i64::MAX);
            self.options.metrics.store_bytes.set(bytes);
        }
    }

    /// Whether anything was deleted.
    fn delete_slice(&mut self, reason: &'static str) -> bool {
        match retention::delete_slice(&mut self.connection) {
            Ok(deleted) => {
                for (signal, count) in &deleted {
                    self.options.metrics.evicted(*signal, reason, *count);
                }
                !deleted.is_empty()
            }
            Err(error) => {
                self.warn(&error);
                false
            }
        }
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    fn warn(&mut self, error: &rusqlite::Error) {
        let full = is_full(error);
        self.is_full |= full;
        if self.may_warn() {
            let store = self.options.directory.display();
            if full {
                tracing::warn!(%store, %error, "the disk is full: the oldest telemetry makes room for the newest");
            } else {
                tracing::warn!(%store, %error, "the store cannot be written; what cannot be kept is counted as dropped");
            }
        }
    }

    fn warn_of_disk(&mut self) {
        if self.may_warn() {
            tracing::warn!(
                store = %self.options.directory.display(),
                reserve_bytes = self.options.bounds.disk_reserve_bytes,
                "the disk is nearly full: the oldest telemetry makes room for the newest"
            );
        }
    }

    fn may_warn(&mut self) -> bool {
        let due = self.warned.is_none_or(|at| at.elapsed() > WARN_EVERY);
        if due {
            self.warned = Some(Instant::now());
        }
        due
    }
}

/// What is to be written together, and whether more can come.
fn gather(receiver: &Receiver<Message>, most_bytes: u64) -> (Vec<(Batch, Place)>, bool) {
    let mut batches = Vec::new();
    let (mut items, mut bytes) = (0, 0);
    let mut deadline = Instant::now() + IDLE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(Message::Batch(batch, place)) => {
                if batches.is_empty() {
                    deadline = Instant::now() + GATHER;
                }
                items += batch.items();
                bytes += batch.bytes() as u64;
                batches.push((batch, place));
                if items >= TRANSACTION_ITEMS || bytes >= most_bytes {
                    return (batches, true);
                }
            }
            Err(RecvTimeoutError::Timeout) => return (batches, true),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                while let Ok(Message::Batch(batch, place)) = receiver.try_recv() {
                    batches.push((batch, place));
                }
                return (batches, false);
            }
        }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Limits, queue};
    use crate::model::ProfileRow;

    const PAGE: usize = 4_096;

    fn writer(directory: &std::path::Path, metrics: &Metrics) -> Writer {
        let options = WriterOptions {
            directory: directory.to_owned(),
            bounds: Bounds {
                bytes: 1 << 30,
                age: Duration::from_secs(3_600),
                disk_reserve_bytes: 0,
            },
            tail: broadcast::channel(4).0,
            metrics: metrics.clone(),
        };
        Writer::open(options).unwrap()
    }

    fn profile(number: i64) -> Batch {
        Batch::Profiles(vec![ProfileRow {
            service: "api".to_owned(),
            kind: "process_cpu".to_owned(),
            start_ns: number,
            labels: "{}".to_owned(),
            pprof: vec![7; 4 * PAGE],
        }])
    }

    /// As the writer's thread does it, without the waiting.
    fn write(writer: &mut Writer, metrics: &Metrics, batch: Batch) {
        let limits = Limits {
            items: 10_000,
            bytes: 1 << 30,
        };
        let (intake, outlet) = queue(limits, metrics.clone());
        intake.offer(batch).unwrap();
        intake.close();
        let (batches, _) = gather(&outlet.0, TRANSACTION_BYTES);
        writer.keep_bounds(batches.iter().map(|(batch, _)| batch.bytes()).sum());
        writer.write(&batches);
    }

    fn kept(writer: &Writer) -> Vec<i64> {
        let sql = "SELECT start_ns FROM profiles ORDER BY id";
        let mut statement = writer.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn counted(registry: &observastack_telemetry::metrics::Registry, name: &str) -> u64 {
        let text = observastack_telemetry::metrics::encode(registry);
        text.lines()
            .filter(|line| {
                line.starts_with(&format!("observastack_collector_{name}_items_total{{"))
            })
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    #[test]
    fn a_full_disk_costs_the_oldest_and_the_store_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, metrics) = Metrics::register();
        let mut writer = writer(directory.path(), &metrics);
        // SQLite answers a full disk and a full file with the same error.
        let pages = |writer: &Writer, pages: u32| {
            let pragma = format!("PRAGMA max_page_count = {pages}");
            writer
                .connection
                .query_row(&pragma, [], |_| Ok(()))
                .unwrap();
        };
        pages(&writer, 500);
        for number in 0..400 {
            write(&mut writer, &metrics, profile(number));
        }
        let (stored, evicted) = (counted(&registry, "stored"), counted(&registry, "evicted"));
        assert_eq!((stored, counted(&registry, "dropped")), (400, 0));
        let kept_now = kept(&writer);
        assert!(evicted > 200, "{evicted}");
        assert_eq!(kept_now.len() as u64, stored - evicted);
        assert_eq!(kept_now.last(), Some(&399));
        assert!(kept_now.is_sorted(), "the oldest went first");
        pages(&writer, 100_000);
        for number in 400..900 {
            write(&mut writer, &metrics, profile(number));
        }
        assert_eq!(counted(&registry, "evicted"), evicted);
        assert_eq!(counted(&registry, "stored"), 900);
    }

    #[test]
    fn what_cannot_be_written_at_all_is_counted_as_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, metrics) = Metrics::register();
        let mut writer = writer(directory.path(), &metrics);
        writer
            .connection
            .execute_batch("PRAGMA query_only = ON")
            .unwrap();
        write(&mut writer, &metrics, profile(1));
        assert_eq!(
            (counted(&registry, "dropped"), counted(&registry, "stored")),
            (1, 0)
        );
        writer
            .connection
            .execute_batch("PRAGMA query_only = OFF")
            .unwrap();
        write(&mut writer, &metrics, profile(2));
        assert_eq!(
            (counted(&registry, "dropped"), counted(&registry, "stored")),
            (1, 1)
        );
        assert_eq!(kept(&writer), [2]);
    }
}

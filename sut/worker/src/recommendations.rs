//! The second job: reads the newest orders, counts what is bought together, and replaces the table of recommendations.
//!
//! With a pause between two runs it costs next to nothing. With `every_ms` 0 its threads compute again and again without one:
//! as many cores as there are threads are busy, and whoever shares the machine feels it. That is what it is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use observastack_kit::config::ConfigStore;
use observastack_kit::database::{Database, DatabaseError, Statement};
use observastack_kit::lifecycle::stopped;
use observastack_telemetry::traces;
use tokio::sync::watch;

use crate::metrics::WorkerMetrics;
use crate::pairs::{self, Basket, Counts, Recommendation};
use crate::rounds::{self, Round, RoundError};
use crate::settings::{RecommendationSettings, WorkerConfig};

/// How many others are recommended with a product, at most.
const MOST_OTHERS: usize = 3;

/// Rows in the table, at most.
const MOST_ROWS: usize = 20_000;

/// How long threads without a pause compute before their result is looked at.
const ROUND: Duration = Duration::from_secs(1);

/// After a failure, however short the pause between two runs is.
const REST: Duration = Duration::from_secs(1);

const READ: Statement = Statement {
    name: "read_newest_orders",
    sql: "SELECT order_id, sku FROM shop.order_lines \
          WHERE order_id IN (SELECT id FROM shop.orders ORDER BY id DESC LIMIT $1) ORDER BY order_id",
};
const CLEAR: Statement = Statement {
    name: "clear_recommendations",
    sql: "DELETE FROM shop.recommendations",
};
const INSERT: Statement = Statement {
    name: "insert_recommendations",
    sql: "INSERT INTO shop.recommendations (sku, other, orders) \
          SELECT * FROM unnest($1::text[], $2::text[], $3::int[])",
};

/// Orders as they were read: their products by number, and what the numbers mean.
#[derive(Debug, Default)]
struct Orders {
    skus: Vec<String>,
    baskets: Vec<Basket>,
}

/// What the job works with.
#[derive(Debug, Clone)]
pub struct Recommendations {
    /// The live configuration.
    pub config: ConfigStore<WorkerConfig>,
    /// Where orders are, and where the result goes.
    pub database: Database,
    /// The figures.
    pub metrics: WorkerMetrics,
}

impl Recommendations {
    /// Computes until the stop.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let stop = Arc::new(AtomicBool::new(false));
        tokio::select! {
            () = stopped(&mut shutdown) => {}
            () = self.work(&stop) => {}
        }
        // The threads are not waited for: they look at this between two passes, and at the stop the process ends.
        stop.store(true, Ordering::Relaxed);
    }

    async fn work(&self, stop: &Arc<AtomicBool>) {
        let mut changes = self.config.subscribe();
        let mut written = Vec::new();
        loop {
            let settings = changes.borrow_and_update().config.recommendations.clone();
            let pause = if !settings.enabled {
                None
            } else if settings.every_ms == 0 {
                match self
                    .without_pause(&settings, &mut written, stop, &changes)
                    .await
                {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "recommendations were not computed");
                        Some(REST)
                    }
                }
            } else {
                if let Err(error) = self.once(&settings, &mut written, stop).await {
                    tracing::warn!(%error, "recommendations were not computed");
                }
                Some(Duration::from_millis(settings.every_ms))
            };
            let rested = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rested => {}
                // The store is kept by this very job.
                _ = changes.changed() => {}
            }
        }
    }

    /// One run.
    async fn once(
        &self,
        settings: &RecommendationSettings,
        written: &mut Vec<(String, String, i32)>,
        stop: &Arc<AtomicBool>,
    ) -> Result<(), RunError> {
        let span = traces::internal("compute_recommendations");
        let run = async {
            let orders = Arc::new(read(&self.database, settings.max_orders).await?);
            let counts = self
                .compute(&orders, settings.threads, Round::one_pass(stop))
                .await?;
            self.write(&orders, &counts, written).await
        };
        let outcome = span.around(run).await;
        if let Err(error) = &outcome {
            span.failed("recommendations", || error.to_string());
        }
        outcome
    }

    /// Round after round until the configuration changes: while the threads compute, the result of the round before is
    /// written and orders are read for the next one.
    async fn without_pause(
        &self,
        settings: &RecommendationSettings,
        written: &mut Vec<(String, String, i32)>,
        stop: &Arc<AtomicBool>,
        changes: &watch::Receiver<Arc<observastack_kit::config::Versioned<WorkerConfig>>>,
    ) -> Result<(), RunError> {
        let quiet = traces::unrecorded();
        let mut orders = Arc::new(
            quiet
                .around(read(&self.database, settings.max_orders))
                .await?,
        );
        let mut done: Option<(Arc<Orders>, Counts)> = None;
        let mut was_down = false;
        while !changes.has_changed().unwrap_or(true) {
            // A database that is slow because of all this is waited for without a rest.
            let goes_on = Arc::new(AtomicBool::new(true));
            let round = Round {
                at_least: ROUND,
                goes_on: Arc::clone(&goes_on),
                stop: Arc::clone(stop),
            };
            let round = self.compute(&orders, settings.threads, round);
            let meanwhile = quiet.around(async {
                let replaced = match done.take() {
                    Some((orders, counts)) => self.write(&orders, &counts, written).await,
                    None => Ok(()),
                };
                let next = read(&self.database, settings.max_orders).await;
                goes_on.store(false, Ordering::Relaxed);
                replaced.and(next.map_err(RunError::from))
            });
            let (counts, next) = tokio::join!(round, meanwhile);
            done = Some((Arc::clone(&orders), counts?));
            match next {
                Ok(next) => {
                    was_down = false;
                    orders = Arc::new(next);
                }
                // A database that is away, or busy with what this does to it, is no pause.
                Err(error) => {
                    if !was_down {
                        tracing::warn!(%error, "recommendations are computed from the orders of before");
                    }
                    was_down = true;
                }
            }
        }
        Ok(())
    }

    /// Counts with so many threads, each a part of the orders, for a round.
    async fn compute(
        &self,
        orders: &Arc<Orders>,
        threads: usize,
        round: Round,
    ) -> Result<Counts, RunError> {
        let orders = Arc::clone(orders);
        let work =
            tokio::task::spawn_blocking(move || rounds::compute(&orders.baskets, threads, &round));
        let (counts, runs) = work.await.map_err(|_| RoundError::Lost)??;
        self.metrics.computed(runs);
        Ok(counts)
    }

    /// Replaces the table, unless it is what was written last.
    async fn write(
        &self,
        orders: &Orders,
        counts: &Counts,
        written: &mut Vec<(String, String, i32)>,
    ) -> Result<(), RunError> {
        let rows = rows(orders, pairs::best(counts, MOST_OTHERS));
        if rows == *written {
            return Ok(());
        }
        let skus: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
        let others: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
        let numbers: Vec<i32> = rows.iter().map(|row| row.2).collect();
        let mut session = self.database.acquire().await?;
        let transaction = session.begin().await?;
        transaction.query(CLEAR, &[]).await?;
        transaction
            .query(INSERT, &[&skus, &others, &numbers])
            .await?;
        transaction.commit().await?;
        *written = rows;
        Ok(())
    }
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Round(#[from] RoundError),
}

/// The newest orders; in each its products.
async fn read(database: &Database, most: u32) -> Result<Orders, DatabaseError> {
    let session = database.acquire().await?;
    let rows = session.query(READ, &[&i64::from(most)]).await?;
    let mut orders = Orders::default();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut last = None;
    for row in &rows {
        let (order_id, sku): (i64, &str) = (row.get(0), row.get(1));
        let number = match numbers.get(sku) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(orders.skus.len()).unwrap_or(u32::MAX);
                orders.skus.push(sku.to_owned());
                numbers.insert(sku.to_owned(), number);
                number
            }
        };
        if last != Some(order_id) {
            orders.baskets.push(Basket::new());
            last = Some(order_id);
        }
        if let Some(basket) = orders.baskets.last_mut() {
            basket.push(number);
        }
    }
    Ok(orders)
}

/// The table's rows.
fn rows(orders: &Orders, found: Vec<Recommendation>) -> Vec<(String, String, i32)> {
    let sku = |number: u32| orders.skus.get(number as usize).cloned();
    let mut rows: Vec<_> = found
        .into_iter()
        .filter_map(|found| {
            let orders = i32::try_from(found.orders).unwrap_or(i32::MAX);
            Some((sku(found.product)?, sku(found.other)?, orders))
        })
        .collect();
    // Numbers are given in the order of rows read, so they are others after each new order.
    rows.sort_unstable();
    rows.truncate(MOST_ROWS);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_products_and_are_bounded() {
        let orders = Orders {
            skus: vec!["B".into(), "A".into()],
            baskets: vec![vec![0, 1]],
        };
        let found = pairs::best(&pairs::count(&orders.baskets), MOST_OTHERS);
        let expected = [("A", "B", 1), ("B", "A", 1)];
        let expected = expected.map(|(sku, other, n)| (sku.to_owned(), other.to_owned(), n));
        assert_eq!(rows(&orders, found), expected);
    }
}

//! The queue in the database: claiming confirmations, reading what they tell, marking what became of them.

use std::time::Duration;

use observastack_kit::database::{Database, DatabaseError, Statement};

use crate::message::{Confirmation, Line};

/// A confirmation that is ours until its claim ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The order.
    pub order_id: i64,
    /// Which attempt this is, 1 for the first. A later claim has a higher one.
    pub attempt: i32,
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Waiting {
    /// Confirmations that were not sent and not given up.
    pub count: i64,
    /// How long the oldest of them has waited, in seconds; 0 where there is none.
    pub oldest_seconds: f64,
    /// Confirmations that were given up.
    pub given_up: i64,
}

const CLAIM: Statement = Statement {
    name: "claim_confirmations",
    // What somebody else is claiming right now is left out instead of waited for.
    sql: "WITH next AS (SELECT order_id FROM shop.confirmations WHERE sent_at IS NULL AND due_at <= now() \
                        ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
          UPDATE shop.confirmations AS mine \
          SET due_at = now() + make_interval(secs => $2), attempts = attempts + 1 \
          FROM next WHERE mine.order_id = next.order_id RETURNING mine.order_id, mine.attempts",
};
const READ: Statement = Statement {
    name: "read_confirmation",
    sql: "SELECT customers.id, customers.name, \
                 to_char(orders.placed_at AT TIME ZONE 'UTC', 'Dy, DD Mon YYYY HH24:MI:SS') || ' +0000', \
                 orders.total_cents, line.sku, products.name, line.quantity, line.unit_price_cents \
          FROM shop.orders JOIN shop.customers ON customers.id = orders.customer_id \
          JOIN shop.order_lines AS line ON line.order_id = orders.id \
          JOIN shop.products ON products.sku = line.sku \
          WHERE orders.id = $1 ORDER BY line.sku COLLATE \"C\"",
};
const MARK_SENT: Statement = Statement {
    name: "mark_confirmation_sent",
    sql: "UPDATE shop.confirmations SET sent_at = clock_timestamp(), last_error = NULL \
          WHERE order_id = $1 AND sent_at IS NULL \
          RETURNING extract(epoch FROM sent_at - queued_at)::float8",
};
const MARK_FAILED: Statement = Statement {
    name: "mark_confirmation_failed",
    // A claim that ran out meanwhile is another worker's: its attempts are more.
    sql: "UPDATE shop.confirmations SET due_at = now() + make_interval(secs => $3), last_error = $4 \
          WHERE order_id = $1 AND attempts = $2 AND sent_at IS NULL",
};
const GIVE_UP: Statement = Statement {
    name: "give_up_confirmation",
    sql: "UPDATE shop.confirmations SET due_at = 'infinity', last_error = $3 \
          WHERE order_id = $1 AND attempts = $2 AND sent_at IS NULL",
};
const LOOK: Statement = Statement {
    name: "count_confirmations",
    // The partial index has those that wait, and no others.
    sql: "SELECT count(*) FILTER (WHERE due_at < 'infinity'), \
                 coalesce(extract(epoch FROM now() - min(queued_at) FILTER (WHERE due_at < 'infinity')), 0)::float8, \
                 count(*) FILTER (WHERE due_at = 'infinity') \
          FROM shop.confirmations WHERE sent_at IS NULL",
};

/// Claims at most `most` confirmations that are due, the longest due first, for as long as `lease`.
///
/// # Errors
/// The database's.
pub async fn claim(
    database: &Database,
    most: usize,
    lease: Duration,
) -> Result<Vec<Claimed>, DatabaseError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let session = database.acquire().await?;
    let rows = session.query(CLAIM, &[&most, &lease.as_secs_f64()]).await?;
    Ok(rows
        .iter()
        .map(|row| Claimed {
            order_id: row.get(0),
            attempt: row.get(1),
        })
        .collect())
}

/// What an order's confirmation tells; `None` where there is no such order.
///
/// # Errors
/// The database's.
pub async fn read(
    database: &Database,
    order_id: i64,
) -> Result<Option<Confirmation>, DatabaseError> {
    let session = database.acquire().await?;
    let rows = session.query(READ, &[&order_id]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let lines = rows
        .iter()
        .map(|row| Line {
            sku: row.get(4),
            name: row.get(5),
            quantity: row.get(6),
            unit_price_cents: row.get(7),
        })
        .collect();
    Ok(Some(Confirmation {
        order_id,
        customer_id: first.get(0),
        customer: first.get(1),
        placed_at: first.get(2),
        total_cents: first.get(3),
        lines,
    }))
}

/// Marks a confirmation as sent; gives the time since it was queued, or `None` where somebody else has marked it before.
///
/// # Errors
/// The database's: then it is sent again when the claim ends.
pub async fn mark_sent(
    database: &Database,
    order_id: i64,
) -> Result<Option<Duration>, DatabaseError> {
    let session = database.acquire().await?;
    let row = session.query_opt(MARK_SENT, &[&order_id]).await?;
    Ok(row.map(|row| Duration::try_from_secs_f64(row.get(0)).unwrap_or_default()))
}

/// Lets a confirmation rest for `pause` after a failure.
///
/// # Errors
/// The database's: then it rests until the claim ends.
pub async fn mark_failed(
    database: &Database,
    claimed: Claimed,
    pause: Duration,
    error: &str,
) -> Result<(), DatabaseError> {
    let Claimed { order_id, attempt } = claimed;
    let session = database.acquire().await?;
    session
        .query(
            MARK_FAILED,
            &[&order_id, &attempt, &pause.as_secs_f64(), &error],
        )
        .await
        .map(drop)
}

/// Takes a confirmation out of the queue for good; it stays in the table.
///
/// # Errors
/// The database's: then it is tried once more when the claim ends.
pub async fn give_up(
    database: &Database,
    claimed: Claimed,
    error: &str,
) -> Result<(), DatabaseError> {
    let Claimed { order_id, attempt } = claimed;
    let session = database.acquire().await?;
    session
        .query(GIVE_UP, &[&order_id, &attempt, &error])
        .await
        .map(drop)
}

/// How many wait, and for how long.
///
/// # Errors
/// The database's.
pub async fn look(database: &Database) -> Result<Waiting, DatabaseError> {
    let session = database.acquire().await?;
    let row = session.query_opt(LOOK, &[]).await?;
    Ok(row.map_or_else(Waiting::default, |row| Waiting {
        count: row.get(0),
        oldest_seconds: row.get(1),
        given_up: row.get(2),
    }))
}

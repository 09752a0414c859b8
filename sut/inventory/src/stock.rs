//! Stock in the database: reading it, reserving from it, releasing what was reserved.

use observastack_kit::database::{Database, DatabaseError, Statement};
use serde::{Deserialize, Serialize};

/// One item's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stock {
    /// The item.
    pub sku: String,
    /// Pieces in the warehouse.
    pub on_hand: i32,
    /// Pieces of those promised to orders.
    pub reserved: i32,
    /// Pieces that can still be reserved.
    pub available: i32,
}

/// So many pieces of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The item.
    pub sku: String,
    /// How many, at least 1.
    pub quantity: i32,
}

/// What became of a reservation.
#[derive(Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The pieces are held for the key now.
    Created,
    /// They were already, by the same request earlier.
    Replayed,
    /// The key holds other lines.
    KeyInUse,
    /// The key was released, before or after it was used.
    KeyReleased,
    /// There is no such item.
    UnknownSku(String),
    /// There are not enough pieces of an item.
    Insufficient {
        /// The item.
        sku: String,
        /// How many the request wants.
        requested: i32,
        /// How many there are.
        available: i32,
    },
}

const READ: Statement = Statement {
    name: "read_stock",
    sql: "SELECT sku, on_hand, reserved FROM stock.items WHERE sku = $1",
};
const INSERT_KEY: Statement = Statement {
    name: "insert_reservation",
    // Waits here while another transaction with the same key is under way.
    sql: "INSERT INTO stock.reservations (key, state) VALUES ($1, 'held') ON CONFLICT DO NOTHING RETURNING key",
};
const READ_KEY: Statement = Statement {
    name: "read_reservation",
    sql: "SELECT state FROM stock.reservations WHERE key = $1 FOR UPDATE",
};
const READ_LINES: Statement = Statement {
    name: "read_reservation_lines",
    sql: "SELECT sku, quantity FROM stock.reservation_lines WHERE key = $1 ORDER BY sku COLLATE \"C\"",
};
const LOCK_ITEMS: Statement = Statement {
    name: "lock_items",
    // In one order for everybody, so that two reservations of the same items wait instead of deadlocking.
    sql: "SELECT sku, on_hand - reserved FROM stock.items WHERE sku = ANY($1) ORDER BY sku FOR NO KEY UPDATE",
};
const RESERVE_ITEMS: Statement = Statement {
    name: "reserve_items",
    sql: "UPDATE stock.items SET reserved = reserved + line.quantity \
          FROM unnest($1::text[], $2::int[]) AS line (sku, quantity) WHERE items.sku = line.sku",
};
const INSERT_LINES: Statement = Statement {
    name: "insert_reservation_lines",
    sql: "INSERT INTO stock.reservation_lines (key, sku, quantity) \
          SELECT $1, line.sku, line.quantity FROM unnest($2::text[], $3::int[]) AS line (sku, quantity)",
};
const MARK_RELEASED: Statement = Statement {
    name: "mark_reservation_released",
    // Inserts for an unknown key too: its reservation may still be under way, held up on the network or at a lock.
    sql: "INSERT INTO stock.reservations (key, state, released_at) VALUES ($1, 'released', now()) \
          ON CONFLICT (key) DO UPDATE SET state = 'released', released_at = now() \
          WHERE reservations.state = 'held' RETURNING key",
};
const RELEASE_ITEMS: Statement = Statement {
    name: "release_items",
    sql: "UPDATE stock.items SET reserved = reserved - line.quantity \
          FROM unnest($1::text[], $2::int[]) AS line (sku, quantity) WHERE items.sku = line.sku",
};

/// Reads one item's stock.
pub async fn read(database: &Database, sku: &str) -> Result<Option<Stock>, DatabaseError> {
    let row = database.acquire().await?.query_opt(READ, &[&sku]).await?;
    Ok(row.map(|row| {
        let (on_hand, reserved) = (row.get(1), row.get(2));
        Stock {
            sku: row.get(0),
            on_hand,
            reserved,
            available: on_hand - reserved,
        }
    }))
}

/// Reserves all lines or none under `key`. The same key with the same lines again changes nothing.
///
/// `lines` are sorted by SKU and name each SKU once.
pub async fn reserve(
    database: &Database,
    key: &str,
    lines: &[Line],
) -> Result<Reserved, DatabaseError> {
    let mut session = database.acquire().await?;
    let transaction = session.begin().await?;
    if transaction.query_opt(INSERT_KEY, &[&key]).await?.is_none() {
        let state = transaction.query_opt(READ_KEY, &[&key]).await?;
        if state.is_some_and(|row| row.get::<_, &str>(0) == "released") {
            return Ok(Reserved::KeyReleased);
        }
        let held = transaction.query(READ_LINES, &[&key]).await?;
        let same = held.len() == lines.len()
            && held.iter().zip(lines).all(|(row, line)| {
                row.get::<_, &str>(0) == line.sku && row.get::<_, i32>(1) == line.quantity
            });
        return Ok(if same {
            Reserved::Replayed
        } else {
            Reserved::KeyInUse
        });
    }

    let skus: Vec<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let items = transaction.query(LOCK_ITEMS, &[&skus]).await?;
    for line in lines {
        let Some(item) = items.iter().find(|row| row.get::<_, &str>(0) == line.sku) else {
            return Ok(Reserved::UnknownSku(line.sku.clone()));
        };
        let available: i32 = item.get(1);
        if available < line.quantity {
            return Ok(Reserved::Insufficient {
                sku: line.sku.clone(),
                requested: line.quantity,
                available,
            });
        }
    }
    transaction
        .query(RESERVE_ITEMS, &[&skus, &quantities])
        .await?;
    transaction
        .query(INSERT_LINES, &[&key, &skus, &quantities])
        .await?;
    transaction.commit().await?;
    Ok(Reserved::Created)
}

/// Gives back what `key` holds, and makes sure that it holds nothing later. Gives the lines that were released: none if
/// the key was unknown or released before.
pub async fn release(database: &Database, key: &str) -> Result<Vec<Line>, DatabaseError> {
    let mut session = database.acquire().await?;
    let transaction = session.begin().await?;
    if transaction
        .query_opt(MARK_RELEASED, &[&key])
        .await?
        .is_none()
    {
        return Ok(Vec::new());
    }
    let rows = transaction.query(READ_LINES, &[&key]).await?;
    let lines: Vec<Line> = rows
        .iter()
        .map(|row| Line {
            sku: row.get(0),
            quantity: row.get(1),
        })
        .collect();
    let skus: Vec<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    transaction.query(LOCK_ITEMS, &[&skus]).await?;
    transaction
        .query(RELEASE_ITEMS, &[&skus, &quantities])
        .await?;
    transaction.commit().await?;
    Ok(lines)
}

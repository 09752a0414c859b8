//! Orders in the database.

use observastack_kit::database::{Database, DatabaseError, Statement};
use serde::{Deserialize, Serialize};

/// So many pieces of a product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// The product.
    pub sku: String,
    /// How many, at least 1.
    pub quantity: i32,
}

/// A line of an order that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PricedLine {
    /// The product.
    pub sku: String,
    /// How many.
    pub quantity: i32,
    /// What one piece cost then.
    pub unit_price_cents: i32,
}

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub id: i64,
    /// Who placed it.
    pub customer_id: i64,
    /// When: RFC 3339, in UTC.
    pub placed_at: String,
    /// The sum of its lines.
    pub total_cents: i64,
    /// When its confirmation was sent: RFC 3339, in UTC; none while it waits, and for orders of before there were any.
    pub confirmed_at: Option<String>,
    /// What was bought, by SKU.
    pub lines: Vec<PricedLine>,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderSummary {
    /// Its id.
    pub id: i64,
    /// When it was placed: RFC 3339, in UTC.
    pub placed_at: String,
    /// The sum of its lines.
    pub total_cents: i64,
}

/// An order with everything decided, to be written.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// From [`prepare`].
    pub id: i64,
    /// Who places it.
    pub customer_id: i64,
    /// Recognises a repeated request.
    pub idempotency_key: Option<String>,
    /// What is bought.
    pub lines: Vec<PricedLine>,
}

/// What is known about an order before it is placed.
#[derive(Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It can be placed, with this id and these prices.
    Ready(i64, Vec<PricedLine>),
    /// There is no such customer.
    UnknownCustomer,
    /// There is no such product.
    UnknownSku(String),
}

/// Why an order was not written.
#[derive(Debug)]
pub enum WriteError {
    /// It certainly was not.
    NotWritten(DatabaseError),
    /// Its idempotency key has been used meanwhile; it was not written.
    KeyTaken,
    /// The connection was lost, or time ran out, at the commit: it may have been. See [`was_written`].
    Unknown(DatabaseError),
}

const FIND_CUSTOMER: Statement = Statement {
    name: "find_customer",
    sql: "SELECT 1 FROM shop.customers WHERE id = $1",
};
const READ_PRICES: Statement = Statement {
    name: "read_prices",
    sql: "SELECT sku, price_cents FROM shop.products WHERE sku = ANY($1)",
};
const NEXT_ORDER_ID: Statement = Statement {
    name: "next_order_id",
    sql: "SELECT nextval('shop.order_ids')",
};
const INSERT_ORDER: Statement = Statement {
    name: "insert_order",
    sql: "INSERT INTO shop.orders (id, customer_id, total_cents, idempotency_key) VALUES ($1, $2, $3, $4) \
          RETURNING to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
};
const INSERT_LINES: Statement = Statement {
    name: "insert_order_lines",
    sql: "INSERT INTO shop.order_lines (order_id, sku, quantity, unit_price_cents) \
          SELECT $1, line.sku, line.quantity, line.unit_price_cents \
          FROM unnest($2::text[], $3::int[], $4::int[]) AS line (sku, quantity, unit_price_cents)",
};
const QUEUE_CONFIRMATION: Statement = Statement {
    name: "queue_confirmation",
    sql: "INSERT INTO shop.confirmations (order_id) VALUES ($1)",
};
const CLAIM_ORDER_ID: Statement = Statement {
    name: "claim_order_id",
    sql: "INSERT INTO shop.orders (id, customer_id, total_cents) VALUES ($1, $2, 0) \
          ON CONFLICT (id) DO NOTHING RETURNING id",
};
const FIND_BY_KEY: Statement = Statement {
    name: "find_order_by_key",
    sql: "SELECT id FROM shop.orders WHERE idempotency_key = $1",
};
const READ_ORDER: Statement = Statement {
    name: "read_order",
    sql: "SELECT orders.customer_id, to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                 total_cents, line.sku, line.quantity, line.unit_price_cents, \
                 to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
          FROM shop.orders JOIN shop.order_lines AS line ON line.order_id = orders.id \
          LEFT JOIN shop.confirmations ON confirmations.order_id = orders.id \
          WHERE orders.id = $1 ORDER BY line.sku COLLATE \"C\"",
};
const READ_CUSTOMERS_ORDERS: Statement = Statement {
    name: "read_customers_orders",
    sql: "SELECT id, to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), total_cents \
          FROM shop.orders WHERE customer_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
};

/// Checks customer and products, and gives the order an id. The connection is free again afterwards: it is not held
/// while the inventory is asked.
///
/// # Errors
/// The database's.
pub async fn prepare(
    database: &Database,
    customer_id: i64,
    lines: &[OrderLine],
) -> Result<Prepared, DatabaseError> {
    let session = database.acquire().await?;
    if session
        .query_opt(FIND_CUSTOMER, &[&customer_id])
        .await?
        .is_none()
    {
        return Ok(Prepared::UnknownCustomer);
    }
    let skus: Vec<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    let prices = session.query(READ_PRICES, &[&skus]).await?;
    let mut priced = Vec::with_capacity(lines.len());
    for line in lines {
        let Some(price) = prices.iter().find(|row| row.get::<_, &str>(0) == line.sku) else {
            return Ok(Prepared::UnknownSku(line.sku.clone()));
        };
        priced.push(PricedLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            unit_price_cents: price.get(1),
        });
    }
    let rows = session.query(NEXT_ORDER_ID, &[]).await?;
    let id = rows.first().map_or(0, |row| row.get(0));
    Ok(Prepared::Ready(id, priced))
}

/// Writes the order with its lines and queues its confirmation, all or nothing; gives the time it was placed.
///
/// # Errors
/// See [`WriteError`].
pub async fn write(database: &Database, order: &NewOrder) -> Result<String, WriteError> {
    let not_written = |error| match error {
        DatabaseError::Constraint { constraint, .. } if constraint == "orders_idempotency_key" => {
            WriteError::KeyTaken
        }
        error => WriteError::NotWritten(error),
    };
    let mut session = database.acquire().await.map_err(not_written)?;
    let transaction = session.begin().await.map_err(not_written)?;
    let skus: Vec<&str> = order.lines.iter().map(|line| line.sku.as_str()).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i32> = order
        .lines
        .iter()
        .map(|line| line.unit_price_cents)
        .collect();
    let row = transaction
        .query_opt(
            INSERT_ORDER,
            &[
                &order.id,
                &order.customer_id,
                &total_cents(&order.lines),
                &order.idempotency_key,
            ],
        )
        .await
        .map_err(not_written)?;
    transaction
        .query(INSERT_LINES, &[&order.id, &skus, &quantities, &prices])
        .await
        .map_err(not_written)?;
    transaction
        .query(QUEUE_CONFIRMATION, &[&order.id])
        .await
        .map_err(not_written)?;
    transaction.commit().await.map_err(|error| match error {
        DatabaseError::Constraint { .. } | DatabaseError::Conflict { .. } => not_written(error),
        error => WriteError::Unknown(error),
    })?;
    Ok(row.map_or_else(String::new, |row| row.get(0)))
}

/// Whether an order was written, for certain: waits for a transaction that may still be writing it.
///
/// # Errors
/// The database's; then it is still unknown.
pub async fn was_written(database: &Database, order: &NewOrder) -> Result<bool, DatabaseError> {
    let mut session = database.acquire().await?;
    let transaction = session.begin().await?;
    // Another transaction's row with this id holds us up until its end. Ours goes away with the rollback.
    let ours = transaction
        .query_opt(CLAIM_ORDER_ID, &[&order.id, &order.customer_id])
        .await?;
    Ok(ours.is_none())
}

/// The order that was placed with an idempotency key.
///
/// # Errors
/// The database's.
pub async fn find_by_key(database: &Database, key: &str) -> Result<Option<Order>, DatabaseError> {
    let id: Option<i64> = {
        let session = database.acquire().await?;
        session
            .query_opt(FIND_BY_KEY, &[&key])
            .await?
            .map(|row| row.get(0))
    };
    match id {
        Some(id) => read(database, id).await,
        None => Ok(None),
    }
}

/// An order with its lines.
///
/// # Errors
/// The database's.
pub async fn read(database: &Database, id: i64) -> Result<Option<Order>, DatabaseError> {
    let rows = database.acquire().await?.query(READ_ORDER, &[&id]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let lines = rows
        .iter()
        .map(|row| PricedLine {
            sku: row.get(3),
            quantity: row.get(4),
            unit_price_cents: row.get(5),
        })
        .collect();
    Ok(Some(Order {
        id,
        customer_id: first.get(0),
        placed_at: first.get(1),
        total_cents: first.get(2),
        confirmed_at: first.get(6),
        lines,
    }))
}

/// A customer's orders, the newest first: `limit` of those older than `before`.
///
/// # Errors
/// The database's.
pub async fn of_customer(
    database: &Database,
    customer_id: i64,
    before: i64,
    limit: i64,
) -> Result<Vec<OrderSummary>, DatabaseError> {
    let rows = database
        .acquire()
        .await?
        .query(READ_CUSTOMERS_ORDERS, &[&customer_id, &before, &limit])
        .await?;
    let summary = |row: &tokio_postgres::Row| OrderSummary {
        id: row.get(0),
        placed_at: row.get(1),
        total_cents: row.get(2),
    };
    Ok(rows.iter().map(summary).collect())
}

/// The sum of the lines.
pub fn total_cents(lines: &[PricedLine]) -> i64 {
    lines
        .iter()
        .map(|line| i64::from(line.quantity) * i64::from(line.unit_price_cents))
        .sum()
}

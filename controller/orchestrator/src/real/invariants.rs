//! What has to be true of the shop's data whatever was broken, and however it was repaired: no order is lost, halved or without its goods.

use super::database::Database;
use crate::lab::LabError;

/// Statements that count what must not be, each with what it is in words. Each is one look at one moment of the database.
const NONE_OF: [(&str, &str); 4] = [
    (
        "orders have no goods reserved",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > now() - interval '2 hours' AND NOT EXISTS \
         (SELECT FROM stock.reservations AS r WHERE r.key = o.id::text AND r.state = 'held')",
    ),
    (
        "orders do not cost what their lines do",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > now() - interval '2 hours' AND total_cents IS DISTINCT FROM \
         (SELECT sum(quantity * unit_price_cents) FROM shop.order_lines AS l WHERE l.order_id = o.id)",
    ),
    (
        // Orders of before the queue was made have none, and never get one: the migration's own entry tells when that was. An
        // API server of the version before may still have been placing some while the next one migrated.
        "orders have no confirmation in the queue",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > now() - interval '2 hours' AND placed_at > \
         (SELECT applied_on::timestamptz + interval '1 minute' FROM shop.schema_history WHERE version = 3) AND NOT EXISTS \
         (SELECT FROM shop.confirmations AS c WHERE c.order_id = o.id)",
    ),
    (
        "products have other quantities reserved than orders have",
        "SELECT count(*) FROM stock.items LEFT JOIN (SELECT sku, sum(quantity) AS quantity FROM stock.reservation_lines \
         JOIN stock.reservations USING (key) WHERE state = 'held' GROUP BY sku) AS held USING (sku) WHERE reserved <> coalesce(quantity, 0)",
    ),
];

/// The newest order there is.
pub(super) async fn newest_order(database: &Database) -> Result<i64, LabError> {
    let id = database
        .value("SELECT coalesce(max(id), 0) FROM shop.orders")
        .await?;
    // A number, as the statement is.
    Ok(id.parse().unwrap_or(0))
}

/// What is not as it has to be. `placed` orders were acknowledged to clients since there was none newer than `before`.
pub(super) async fn broken(
    database: &Database,
    placed: u64,
    before: Option<i64>,
) -> Result<Vec<String>, LabError> {
    let mut broken = Vec::new();
    if let Some(before) = before {
        let query = format!("SELECT count(*) FROM shop.orders WHERE id > {before}");
        broken.extend(lost(placed, &database.value(&query).await?));
    }
    for (words, query) in NONE_OF {
        let count = database.value(query).await?;
        if count != "0" {
            broken.push(format!("{count} {words}"));
        }
    }
    Ok(broken)
}

/// Orders that a client was told of and that are not there. More than it was told of may be: an answer can be lost on its way.
fn lost(placed: u64, there: &str) -> Option<String> {
    let there: u64 = there.parse().ok()?;
    let lost = placed.checked_sub(there).filter(|lost| *lost > 0)?;
    Some(format!(
        "{lost} orders that were acknowledged are not in the database"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_acknowledged_has_to_be_there_and_others_may() {
        assert_eq!(lost(7, "7"), None);
        assert_eq!(lost(7, "9"), None);
        assert_eq!(
            lost(7, "5").as_deref(),
            Some("2 orders that were acknowledged are not in the database")
        );
    }
}

//! What has to be true of the shop's data whatever was broken, and however it was repaired: no order is lost, halved or without its goods.

use serde::{Deserialize, Serialize};

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

/// How it was before a run: what an earlier one has broken for good is no fault of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    newest_order: i64,
    /// How many there were of each.
    counts: [u64; NONE_OF.len()],
}

/// How it is.
pub(super) async fn look(database: &Database) -> Result<Before, LabError> {
    let newest = "SELECT coalesce(max(id), 0) FROM shop.orders";
    // A number, as the statement is.
    let newest_order = database.value(newest).await?.parse().unwrap_or(0);
    Ok(Before {
        newest_order,
        counts: counts(database).await?,
    })
}

/// What is not as it has to be. `placed` orders were acknowledged to clients since it was as `before`.
pub(super) async fn broken(
    database: &Database,
    placed: u64,
    before: Option<&Before>,
) -> Result<Vec<String>, LabError> {
    let mut broken = Vec::new();
    if let Some(Before { newest_order, .. }) = before {
        let query = format!("SELECT count(*) FROM shop.orders WHERE id > {newest_order}");
        broken.extend(lost(placed, &database.value(&query).await?));
    }
    let earlier = before.map(|before| before.counts).unwrap_or_default();
    broken.extend(more(earlier, counts(database).await?));
    Ok(broken)
}

async fn counts(database: &Database) -> Result<[u64; NONE_OF.len()], LabError> {
    let mut counts = [0; NONE_OF.len()];
    for (count, (_, query)) in counts.iter_mut().zip(NONE_OF) {
        *count = database.value(query).await?.parse().unwrap_or(u64::MAX);
    }
    Ok(counts)
}

/// What there is more of than there was, in words.
fn more(earlier: [u64; NONE_OF.len()], now: [u64; NONE_OF.len()]) -> Vec<String> {
    let each = earlier.into_iter().zip(now).zip(NONE_OF);
    each.filter(|((earlier, now), _)| now > earlier)
        .map(|((earlier, now), (words, _))| format!("{} {words}", now - earlier))
        .collect()
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

    #[test]
    fn what_an_earlier_run_has_broken_for_good_is_no_fault_of_this_one() {
        assert_eq!(more([0, 0, 89, 3], [0, 0, 89, 2]), [""; 0]);
        assert_eq!(
            more([0, 0, 89, 0], [1, 0, 96, 0]),
            [
                "1 orders have no goods reserved",
                "7 orders have no confirmation in the queue"
            ]
        );
    }
}

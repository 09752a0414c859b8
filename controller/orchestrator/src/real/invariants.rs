//! What has to be true of the shop's data whatever was broken, and however it was repaired: no order is lost, halved or without its goods.

use serde::{Deserialize, Serialize};

use super::database::Database;
use crate::lab::LabError;

/// Statements that count what must not be, each with what it is in words. Each is one look at one moment of the database, at orders of after `SINCE`.
const NONE_OF: [(&str, &str); 5] = [
    (
        "orders have no goods reserved",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > SINCE AND NOT EXISTS \
         (SELECT FROM stock.reservations AS r WHERE r.key = o.id::text AND r.state = 'held')",
    ),
    (
        "orders do not cost what their lines do",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > SINCE AND total_cents IS DISTINCT FROM \
         (SELECT sum(quantity * unit_price_cents) FROM shop.order_lines AS l WHERE l.order_id = o.id)",
    ),
    (
        // Orders of before the queue was made have none, and never get one: the migration's own entry tells when that was. An
        // API server of the version before may still have been placing some while the next one migrated.
        "orders have no confirmation in the queue",
        "SELECT count(*) FROM shop.orders AS o WHERE id > 0 AND placed_at > SINCE AND placed_at > \
         (SELECT applied_on::timestamptz + interval '1 minute' FROM shop.schema_history WHERE version = 3) AND NOT EXISTS \
         (SELECT FROM shop.confirmations AS c WHERE c.order_id = o.id)",
    ),
    (
        "confirmations are marked as sent, or given up, and nobody has tried to send them",
        "SELECT count(*) FROM shop.confirmations JOIN shop.orders AS o ON o.id = order_id WHERE placed_at > SINCE AND attempts = 0 AND \
         (sent_at IS NOT NULL OR due_at = 'infinity')",
    ),
    (
        "products have other quantities reserved than orders have",
        "SELECT count(*) FROM stock.items LEFT JOIN (SELECT sku, sum(quantity) AS quantity FROM stock.reservation_lines \
         JOIN stock.reservations USING (key) WHERE state = 'held' GROUP BY sku) AS held USING (sku) WHERE reserved <> coalesce(quantity, 0)",
    ),
];

/// Longer than any drill, and short enough for a look that costs little.
const SINCE: &str = "SELECT now() - interval '5 hours'";

/// How it was before a run: what an earlier one has broken for good is no fault of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    newest_order: i64,
    /// Orders of after this moment are looked at, at the end too: what is broken already must not leave the window and make room for more.
    since: String,
    /// How many there were of each.
    counts: [u64; NONE_OF.len()],
}

impl Before {
    /// The same with another beginning of what is counted as placed; with the one it has where nobody knows the newest order, and none can be missed.
    pub(super) async fn counting_from_now(self, database: &Database) -> Self {
        let newest_order = newest_order(database).await.unwrap_or(self.newest_order);
        Self {
            newest_order,
            ..self
        }
    }
}

/// How it is.
pub(super) async fn look(database: &Database) -> Result<Before, LabError> {
    let since = database.value(SINCE).await?;
    Ok(Before {
        newest_order: newest_order(database).await?,
        counts: counts(database, &since).await?,
        since,
    })
}

async fn newest_order(database: &Database) -> Result<i64, LabError> {
    let newest = "SELECT coalesce(max(id), 0) FROM shop.orders";
    // A number, as the statement is.
    Ok(database.value(newest).await?.parse().unwrap_or(0))
}

/// What is not as it has to be. `placed` orders were acknowledged to clients since it was as `before`.
pub(super) async fn broken(
    database: &Database,
    placed: u64,
    before: Option<&Before>,
) -> Result<Vec<String>, LabError> {
    let mut broken = Vec::new();
    let (earlier, since) = match before {
        Some(before) => {
            let newest = before.newest_order;
            let query = format!("SELECT count(*) FROM shop.orders WHERE id > {newest}");
            broken.extend(lost(placed, &database.value(&query).await?));
            (before.counts, before.since.clone())
        }
        None => (Default::default(), database.value(SINCE).await?),
    };
    broken.extend(more(earlier, counts(database, &since).await?));
    Ok(broken)
}

async fn counts(database: &Database, since: &str) -> Result<[u64; NONE_OF.len()], LabError> {
    let mut counts = [0; NONE_OF.len()];
    let since = format!("timestamptz '{since}'");
    for (count, (_, query)) in counts.iter_mut().zip(NONE_OF) {
        let query = query.replace("SINCE", &since);
        *count = database.value(&query).await?.parse().unwrap_or(u64::MAX);
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
        assert_eq!(more([0, 0, 89, 0, 3], [0, 0, 89, 0, 2]), [""; 0]);
        assert_eq!(
            more([0, 0, 89, 0, 0], [1, 0, 96, 0, 0]),
            [
                "1 orders have no goods reserved",
                "7 orders have no confirmation in the queue"
            ]
        );
    }
}

//! The good algorithm: sort, then count neighbours. O(n log n).

use std::sync::Arc;

use super::{Deadline, OrderValue, Pair, ReportTimeout, Sale, nearest_rank};

pub(super) fn order_value(sales: &[Sale]) -> OrderValue {
    let mut totals: Vec<i64> = sales.iter().map(Sale::total_cents).collect();
    totals.sort_unstable();
    let at = |percent| {
        totals
            .get(nearest_rank(percent, totals.len()) - 1)
            .copied()
            .unwrap_or(0)
    };
    OrderValue {
        p50_cents: at(50),
        p90_cents: at(90),
        p99_cents: at(99),
        max_cents: at(100),
    }
}

pub(super) fn pairs(sales: &[Sale], deadline: Deadline) -> Result<Vec<Pair>, ReportTimeout> {
    let mut bought_together: Vec<(&Arc<str>, &Arc<str>)> = Vec::new();
    for sale in sales {
        deadline.check()?;
        let mut skus: Vec<&Arc<str>> = sale.lines.iter().map(|line| &line.sku).collect();
        skus.sort_unstable();
        for (index, first) in skus.iter().enumerate() {
            bought_together.extend(skus.iter().skip(index + 1).map(|second| (*first, *second)));
        }
    }
    bought_together.sort_unstable();
    Ok(bought_together
        .chunk_by(|a, b| a == b)
        .filter_map(|same| {
            let (first, second) = same.first()?;
            Some(Pair {
                first: Arc::clone(first),
                second: Arc::clone(second),
                orders: same.len() as u64,
            })
        })
        .collect())
}

//! The bad algorithm: look through everything for each thing. O(n²), written the way it happens in real code: a list
//! that is searched from its start, and ranks found by counting.

use std::sync::Arc;

use super::{Deadline, OrderValue, Pair, ReportTimeout, Sale, nearest_rank};

pub(super) fn order_value(sales: &[Sale], deadline: Deadline) -> Result<OrderValue, ReportTimeout> {
    let totals: Vec<i64> = sales.iter().map(Sale::total_cents).collect();
    let mut value = OrderValue {
        p50_cents: 0,
        p90_cents: 0,
        p99_cents: 0,
        max_cents: 0,
    };
    for candidate in &totals {
        deadline.check()?;
        let below = totals.iter().filter(|total| *total < candidate).count();
        let at_most = totals.iter().filter(|total| *total <= candidate).count();
        let ranks = [
            (50, &mut value.p50_cents),
            (90, &mut value.p90_cents),
            (99, &mut value.p99_cents),
            (100, &mut value.max_cents),
        ];
        for (percent, percentile) in ranks {
            if (below + 1..=at_most).contains(&nearest_rank(percent, totals.len())) {
                *percentile = *candidate;
            }
        }
    }
    Ok(value)
}

pub(super) fn pairs(sales: &[Sale], deadline: Deadline) -> Result<Vec<Pair>, ReportTimeout> {
    let mut pairs: Vec<Pair> = Vec::new();
    for sale in sales {
        deadline.check()?;
        for first in &sale.lines {
            for second in sale.lines.iter().filter(|second| second.sku > first.sku) {
                match pairs
                    .iter_mut()
                    .find(|pair| pair.first == first.sku && pair.second == second.sku)
                {
                    Some(pair) => pair.orders += 1,
                    None => pairs.push(Pair {
                        first: Arc::clone(&first.sku),
                        second: Arc::clone(&second.sku),
                        orders: 1,
                    }),
                }
            }
        }
    }
    Ok(pairs)
}

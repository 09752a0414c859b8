//! The sales report: what sells together, what orders are worth, what each category brings in.
//!
//! [`load`] reads the newest orders, [`compute`] works on them (CPU only, so it belongs on a thread of its own),
//! [`template`] makes a page of the result. The two algorithms agree on every result; only their cost differs.

mod bad;
mod good;
mod load;
pub mod template;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::settings::Algorithm;

pub use load::load;

/// One order as the report sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// What was bought; each product once.
    pub lines: Vec<SaleLine>,
}

impl Sale {
    fn total_cents(&self) -> i64 {
        self.lines.iter().map(|line| line.revenue_cents).sum()
    }
}

/// One line of an order as the report sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleLine {
    /// The product; shared between the lines that name it.
    pub sku: Arc<str>,
    /// The product's category; shared likewise.
    pub category: Arc<str>,
    /// Pieces sold.
    pub quantity: i64,
    /// Price of all the pieces.
    pub revenue_cents: i64,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SalesReport {
    /// Orders reported on.
    pub orders: usize,
    /// Their lines.
    pub lines: usize,
    /// What they brought in.
    pub revenue_cents: i64,
    /// How much one order is worth.
    pub order_value: OrderValue,
    /// The products most often bought together, most often first.
    pub pairs: Vec<Pair>,
    /// The categories that bring in most, most first.
    pub categories: Vec<Category>,
}

/// Nearest-rank percentiles of the orders' totals; all zero without orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderValue {
    /// Half of the orders are worth at most this.
    pub p50_cents: i64,
    /// Nine in ten are worth at most this.
    pub p90_cents: i64,
    /// All but one in a hundred are worth at most this.
    pub p99_cents: i64,
    /// The dearest order.
    pub max_cents: i64,
}

/// Two products in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The product whose SKU sorts first.
    #[serde(serialize_with = "as_text")]
    pub first: Arc<str>,
    /// The other.
    #[serde(serialize_with = "as_text")]
    pub second: Arc<str>,
    /// Orders with both.
    pub orders: u64,
}

/// What a category sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Category {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub category: Arc<str>,
    /// Pieces sold.
    pub pieces: i64,
    /// What they brought in.
    pub revenue_cents: i64,
}

fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// The report took longer than `report.timeout_ms`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the report took longer than {limit_ms} ms")]
pub struct ReportTimeout {
    /// The limit.
    pub limit_ms: u64,
}

/// When a computation has to give up; checked once for each order, for a thread can't be stopped from outside.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    limit_ms: u64,
}

impl Deadline {
    /// So many milliseconds from now.
    pub fn after_ms(limit_ms: u64) -> Self {
        Deadline {
            end: Instant::now() + Duration::from_millis(limit_ms),
            limit_ms,
        }
    }

    fn check(&self) -> Result<(), ReportTimeout> {
        if Instant::now() < self.end {
            Ok(())
        } else {
            Err(ReportTimeout {
                limit_ms: self.limit_ms,
            })
        }
    }
}

/// Computes the report with the `top` pairs and categories.
pub fn compute(
    algorithm: Algorithm,
    sales: &[Sale],
    top: usize,
    deadline: Deadline,
) -> Result<SalesReport, ReportTimeout> {
    deadline.check()?;
    let (order_value, pairs) = match algorithm {
        Algorithm::Good => (good::order_value(sales), good::pairs(sales, deadline)?),
        Algorithm::Bad => (
            bad::order_value(sales, deadline)?,
            bad::pairs(sales, deadline)?,
        ),
    };
    Ok(SalesReport {
        orders: sales.len(),
        lines: sales.iter().map(|sale| sale.lines.len()).sum(),
        revenue_cents: sales.iter().map(Sale::total_cents).sum(),
        order_value,
        pairs: top_pairs(pairs, top),
        categories: top_categories(sales, top),
    })
}

/// The 1-based nearest rank of the percentile among `count` values, at least 1.
fn nearest_rank(percent: usize, count: usize) -> usize {
    (count * percent).div_ceil(100).max(1)
}

fn top_pairs(mut pairs: Vec<Pair>, top: usize) -> Vec<Pair> {
    pairs.sort_unstable_by(|a, b| {
        b.orders
            .cmp(&a.orders)
            .then_with(|| (&a.first, &a.second).cmp(&(&b.first, &b.second)))
    });
    pairs.truncate(top);
    pairs
}

fn top_categories(sales: &[Sale], top: usize) -> Vec<Category> {
    let mut totals = std::collections::BTreeMap::<&Arc<str>, (i64, i64)>::new();
    for line in sales.iter().flat_map(|sale| &sale.lines) {
        let (pieces, revenue_cents) = totals.entry(&line.category).or_default();
        *pieces += line.quantity;
        *revenue_cents += line.revenue_cents;
    }
    let mut categories: Vec<Category> = totals
        .into_iter()
        .map(|(category, (pieces, revenue_cents))| Category {
            category: Arc::clone(category),
            pieces,
            revenue_cents,
        })
        .collect();
    categories.sort_by(|a, b| {
        b.revenue_cents
            .cmp(&a.revenue_cents)
            .then_with(|| a.category.cmp(&b.category))
    });
    categories.truncate(top);
    categories
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_HURRY: u64 = 60_000;

    fn line(product: u8, revenue_cents: i64) -> SaleLine {
        SaleLine {
            sku: format!("P{product:05}").into(),
            category: format!("c{}", product % 3).into(),
            quantity: 1,
            revenue_cents,
        }
    }

    fn report(algorithm: Algorithm, sales: &[Sale]) -> SalesReport {
        compute(algorithm, sales, 5, Deadline::after_ms(NO_HURRY)).unwrap()
    }

    #[test]
    fn small_example_by_hand() {
        let sales = [
            Sale {
                lines: vec![line(2, 100), line(1, 50)],
            },
            Sale {
                lines: vec![line(1, 50), line(2, 100), line(3, 10)],
            },
            Sale {
                lines: vec![line(9, 1_000)],
            },
        ];
        for algorithm in [Algorithm::Good, Algorithm::Bad] {
            let report = report(algorithm, &sales);
            assert_eq!(
                (report.orders, report.lines, report.revenue_cents),
                (3, 6, 1_310)
            );
            assert_eq!(
                report.order_value,
                OrderValue {
                    p50_cents: 160,
                    p90_cents: 1_000,
                    p99_cents: 1_000,
                    max_cents: 1_000
                }
            );
            let pairs: Vec<_> = report
                .pairs
                .iter()
                .map(|p| (&*p.first, &*p.second, p.orders))
                .collect();
            assert_eq!(
                pairs,
                [
                    ("P00001", "P00002", 2),
                    ("P00001", "P00003", 1),
                    ("P00002", "P00003", 1)
                ]
            );
            let categories: Vec<_> = report
                .categories
                .iter()
                .map(|c| (&*c.category, c.pieces, c.revenue_cents))
                .collect();
            assert_eq!(
                categories,
                [("c0", 2, 1_010), ("c2", 2, 200), ("c1", 2, 100)]
            );
        }
    }

    #[test]
    fn no_orders_give_an_empty_report() {
        for algorithm in [Algorithm::Good, Algorithm::Bad] {
            let report = report(algorithm, &[]);
            assert_eq!(
                report.order_value,
                OrderValue {
                    p50_cents: 0,
                    p90_cents: 0,
                    p99_cents: 0,
                    max_cents: 0
                }
            );
            assert!(report.pairs.is_empty() && report.categories.is_empty());
        }
    }

    #[test]
    fn a_report_past_its_deadline_gives_up() {
        let sales = vec![
            Sale {
                lines: vec![line(1, 1), line(2, 1)]
            };
            10
        ];
        for algorithm in [Algorithm::Good, Algorithm::Bad] {
            let result = compute(algorithm, &sales, 5, Deadline::after_ms(0));
            assert_eq!(result, Err(ReportTimeout { limit_ms: 0 }));
        }
    }

    proptest! {
        #[test]
        fn both_algorithms_agree(
            orders in proptest::collection::vec(
                proptest::collection::btree_map(0_u8..30, 1_i64..100_000, 1..6),
                0..200,
            ),
        ) {
            let sales: Vec<Sale> = orders
                .into_iter()
                .map(|lines| Sale { lines: lines.into_iter().map(|(product, revenue)| line(product, revenue)).collect() })
                .collect();
            prop_assert_eq!(report(Algorithm::Good, &sales), report(Algorithm::Bad, &sales));
        }

        /// The definition: at least so many percent of the values are at most the percentile, and it is one of them.
        #[test]
        fn percentiles_are_the_smallest_value_that_covers_enough_orders(
            totals in proptest::collection::vec(1_i64..1_000, 1..150),
        ) {
            let sales: Vec<Sale> = totals.iter().map(|total| Sale { lines: vec![line(1, *total)] }).collect();
            let value = report(Algorithm::Good, &sales).order_value;
            for (percent, percentile) in [(50, value.p50_cents), (90, value.p90_cents), (99, value.p99_cents)] {
                prop_assert!(totals.contains(&percentile));
                let at_most = totals.iter().filter(|total| **total <= percentile).count();
                let below = totals.iter().filter(|total| **total < percentile).count();
                prop_assert!(at_most * 100 >= percent * totals.len());
                prop_assert!(below * 100 < percent * totals.len());
            }
        }
    }
}

//! Reads the orders that the report is about.

use std::collections::HashSet;
use std::sync::Arc;

use observastack_kit::database::{Database, DatabaseError, Statement};

use super::{Sale, SaleLine};

const READ_SALES: Statement = Statement {
    name: "read_sales",
    sql: "SELECT line.order_id, line.sku, products.category, line.quantity, line.unit_price_cents \
          FROM (SELECT id FROM shop.orders ORDER BY id DESC LIMIT $1) AS newest \
          JOIN shop.order_lines AS line ON line.order_id = newest.id \
          JOIN shop.products ON products.sku = line.sku \
          ORDER BY line.order_id",
};

/// The newest `max_orders` orders.
pub async fn load(database: &Database, max_orders: u32) -> Result<Vec<Sale>, DatabaseError> {
    let rows = database
        .acquire()
        .await?
        .query(READ_SALES, &[&i64::from(max_orders)])
        .await?;
    let mut names = Names::default();
    let mut sales: Vec<Sale> = Vec::new();
    let mut last_order: Option<i64> = None;
    for row in rows {
        let order: i64 = row.get(0);
        let quantity = i64::from(row.get::<_, i32>(3));
        let line = SaleLine {
            sku: names.shared(row.get(1)),
            category: names.shared(row.get(2)),
            quantity,
            revenue_cents: quantity * i64::from(row.get::<_, i32>(4)),
        };
        match sales.last_mut() {
            Some(sale) if last_order == Some(order) => sale.lines.push(line),
            _ => sales.push(Sale { lines: vec![line] }),
        }
        last_order = Some(order);
    }
    Ok(sales)
}

/// Each name once: tens of thousands of lines speak of two thousand products.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

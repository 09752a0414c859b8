//! Products in the database.

use observastack_kit::database::{Database, DatabaseError, Statement};
use serde::Serialize;

/// Something that can be bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Its stock keeping unit.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// Where it is listed.
    pub category: String,
    /// What one piece costs.
    pub price_cents: i32,
}

const READ_PRODUCT: Statement = Statement {
    name: "read_product",
    sql: "SELECT sku, name, category, price_cents FROM shop.products WHERE sku = $1",
};
// A page begins behind the last one's last SKU instead of counting rows from the start: the millionth page costs what
// the first does, and a product added meanwhile moves nothing.
const READ_PAGE: Statement = Statement {
    name: "read_products",
    sql: "SELECT sku, name, category, price_cents FROM shop.products WHERE sku > $1 ORDER BY sku LIMIT $2",
};
const READ_CATEGORY_PAGE: Statement = Statement {
    name: "read_products_of_category",
    sql: "SELECT sku, name, category, price_cents FROM shop.products \
          WHERE category = $3 AND sku > $1 ORDER BY sku LIMIT $2",
};

/// One product.
///
/// # Errors
/// The database's.
pub async fn read(database: &Database, sku: &str) -> Result<Option<Product>, DatabaseError> {
    let row = database
        .acquire()
        .await?
        .query_opt(READ_PRODUCT, &[&sku])
        .await?;
    Ok(row.as_ref().map(product))
}

/// The first `limit` products behind the SKU `after`, of one category or of all.
///
/// # Errors
/// The database's.
pub async fn read_page(
    database: &Database,
    category: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Product>, DatabaseError> {
    let session = database.acquire().await?;
    let rows = match category {
        Some(category) => {
            session
                .query(READ_CATEGORY_PAGE, &[&after, &limit, &category])
                .await?
        }
        None => session.query(READ_PAGE, &[&after, &limit]).await?,
    };
    Ok(rows.iter().map(product).collect())
}

fn product(row: &tokio_postgres::Row) -> Product {
    Product {
        sku: row.get(0),
        name: row.get(1),
        category: row.get(2),
        price_cents: row.get(3),
    }
}

//! `GET /products` and `GET /products/{sku}`.

use http::StatusCode;
use observastack_kit::http::{Request, Response, json};
use observastack_kit::service::{NAME, ServiceError, is_name};
use serde::Serialize;

use super::Shop;
use crate::page::{self, Page};
use crate::products::{self, Product};
use crate::request_context::RequestContext;

/// 200 `{"items":[{"sku","name","category","price_cents"}],"next"}`, sorted by SKU; `category`, `limit` and `after`
/// (the last page's `next`) are optional.
pub(super) async fn list(shop: &Shop, request: &Request) -> Result<Response, ServiceError> {
    let limits = &shop.config.current().config.limits;
    let limit = page::limit(request.query("limit").as_deref(), limits.max_page)?;
    let category = name_or_nothing("category", request.query("category"))?;
    let after = name_or_nothing("after", request.query("after"))?.unwrap_or_default();
    let found = products::read_page(
        &shop.database,
        category.as_deref(),
        &after,
        i64::from(limit) + 1,
    )
    .await?;
    Ok(json(
        StatusCode::OK,
        &Page::from_one_more(found, limit, |product| product.sku.clone()),
    )?)
}

/// 200 with the product and how many pieces can be ordered (`null` when the inventory gives no answer), or 404.
pub(super) async fn show(shop: &Shop, request: &Request) -> Result<Response, ServiceError> {
    #[derive(Serialize)]
    struct WithStock {
        #[serde(flatten)]
        product: Product,
        available: Option<i64>,
    }
    let sku: String = request.param("sku")?;
    if !is_name(&sku) {
        return Err(ServiceError::not_found("product", sku));
    }
    let product = products::read(&shop.database, &sku).await?;
    let product = product.ok_or_else(|| ServiceError::not_found("product", &sku))?;
    let available = if shop.config.current().config.inventory.show_stock {
        let context = RequestContext::of(request);
        shop.inventory
            .available(&context, &sku)
            .await
            .unwrap_or_else(|error| {
                // A product page without its stock is better than none.
                tracing::debug!(request_id = context.request_id, %error, "stock unknown");
                shop.metrics.stock_unknown();
                None
            })
    } else {
        None
    };
    Ok(json(StatusCode::OK, &WithStock { product, available })?)
}

fn name_or_nothing(field: &str, value: Option<String>) -> Result<Option<String>, ServiceError> {
    match value {
        Some(value) if !is_name(&value) => {
            Err(ServiceError::invalid(field, format!("{value:?}"), NAME))
        }
        value => Ok(value),
    }
}

//! `POST /orders`, `GET /orders` and `GET /orders/{id}`.

use http::{HeaderValue, StatusCode};
use observastack_kit::http::{Request, Response, json};
use observastack_kit::service::{NAME, ServiceError, check_lines, is_name, read_json};
use serde::Deserialize;

use super::Shop;
use crate::checkout::{OrderRequest, Placed};
use crate::orders::{self, OrderLine};
use crate::page::{self, Page};
use crate::request_context::RequestContext;
use crate::settings::LimitSettings;

/// The most pieces in one line.
const MAX_QUANTITY: i32 = 1_000;

/// The body of `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    customer_id: i64,
    lines: Vec<OrderLine>,
}

/// 201 with the order, or 200 with the earlier one for a repeated `Idempotency-Key`. 409 with the SKU when there are too
/// few pieces; 422 for what can't be ordered; 503 and 504 when database or inventory fail: then nothing is ordered, or a
/// repetition with the same key will tell.
pub(super) async fn place(shop: &Shop, mut request: Request) -> Result<Response, ServiceError> {
    let config = shop.config.current();
    let limits = &config.config.limits;
    let body: Body = read_json(&mut request, limits.max_body_bytes).await?;
    let order = checked(body, request.header("idempotency-key"), limits)?;
    let (checkout, context) = (shop.checkout.clone(), RequestContext::of(&request));
    // The client may go away; what has begun is finished all the same, or given back.
    let work = shop
        .checkout
        .background
        .spawn(async move { checkout.place(&context, order).await });
    let placed = work.await.map_err(|error| {
        ServiceError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error",
        )
        .because(error)
    })??;
    let (status, order) = match placed {
        Placed::New(order) => (StatusCode::CREATED, order),
        Placed::Earlier(order) => (StatusCode::OK, order),
    };
    let mut response = json(status, &order)?;
    if let Ok(location) = HeaderValue::from_str(&format!("/orders/{}", order.id)) {
        response
            .headers_mut()
            .insert(http::header::LOCATION, location);
    }
    Ok(response)
}

/// 200 `{"id","customer_id","placed_at","total_cents","confirmed_at","lines":[{"sku","quantity","unit_price_cents"}]}`, or
/// 404. `confirmed_at` is null until the confirmation was sent.
pub(super) async fn show(shop: &Shop, request: &Request) -> Result<Response, ServiceError> {
    let id: i64 = request.param("id")?;
    let order = orders::read(&shop.database, id).await?;
    Ok(json(
        StatusCode::OK,
        &order.ok_or_else(|| ServiceError::not_found("order", id))?,
    )?)
}

/// 200 `{"items":[{"id","placed_at","total_cents"}],"next"}` for `customer`, the newest first; `limit` and `after` are
/// optional.
pub(super) async fn list(shop: &Shop, request: &Request) -> Result<Response, ServiceError> {
    let limits = &shop.config.current().config.limits;
    let limit = page::limit(request.query("limit").as_deref(), limits.max_page)?;
    let customer = request.query("customer").unwrap_or_default();
    let customer: i64 = customer.parse().map_err(|_| {
        ServiceError::invalid("customer", format!("{customer:?}"), "a customer's id")
    })?;
    let before: i64 = match request.query("after") {
        Some(after) => after.parse().map_err(|_| {
            ServiceError::invalid(
                "after",
                format!("{after:?}"),
                "the `next` of an earlier page",
            )
        })?,
        None => i64::MAX,
    };
    let found = orders::of_customer(&shop.database, customer, before, i64::from(limit) + 1).await?;
    Ok(json(
        StatusCode::OK,
        &Page::from_one_more(found, limit, |order| order.id),
    )?)
}

fn checked(
    body: Body,
    idempotency_key: Option<&str>,
    limits: &LimitSettings,
) -> Result<OrderRequest, ServiceError> {
    if let Some(key) = idempotency_key
        && !is_name(key)
    {
        return Err(ServiceError::invalid(
            "Idempotency-Key",
            format!("{key:?}"),
            NAME,
        ));
    }
    let lines = body
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.quantity));
    check_lines(lines, limits.max_order_lines, MAX_QUANTITY)?;
    let mut lines = body.lines;
    lines.sort();
    Ok(OrderRequest {
        customer_id: body.customer_id,
        lines,
        idempotency_key: idempotency_key.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(lines: &[(&str, i32)]) -> Body {
        let lines = lines
            .iter()
            .map(|(sku, quantity)| OrderLine {
                sku: (*sku).into(),
                quantity: *quantity,
            })
            .collect();
        Body {
            customer_id: 1,
            lines,
        }
    }

    #[test]
    fn refused_orders_name_the_field_the_value_and_what_is_allowed() {
        let limits = LimitSettings {
            max_order_lines: 2,
            ..LimitSettings::default()
        };
        let cases = [
            (
                body(&[]),
                None,
                "lines: 0 lines is not allowed, allowed: 1 to 2 lines",
            ),
            (
                body(&[("a", 1), ("b", 1), ("c", 1)]),
                None,
                "lines: 3 lines is not allowed",
            ),
            (
                body(&[("a", 1), ("a", 1)]),
                None,
                "lines.1.sku: a is not allowed, allowed: each SKU once",
            ),
            (
                body(&[("a", 1), ("b", 0)]),
                None,
                "lines.1.quantity: 0 is not allowed, allowed: 1 to 1000",
            ),
            (
                body(&[("a", 1_001)]),
                None,
                "lines.0.quantity: 1001 is not allowed",
            ),
            (
                body(&[("a b", 1)]),
                None,
                "lines.0.sku: \"a b\" is not allowed",
            ),
            (
                body(&[("a", 1)]),
                Some(""),
                "Idempotency-Key: \"\" is not allowed",
            ),
            (
                body(&[("a", 1)]),
                Some("a b"),
                "Idempotency-Key: \"a b\" is not allowed",
            ),
        ];
        for (body, key, expected) in cases {
            let error = checked(body, key, &limits).unwrap_err();
            assert_eq!(error.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(error.message.starts_with(expected), "{}", error.message);
        }
    }

    proptest! {
        /// The order in which lines are named makes no difference: a repeated request is recognised.
        #[test]
        fn lines_are_brought_into_one_order(
            lines in proptest::collection::btree_map("[A-Za-z0-9_-]{1,64}", 1_i32..=MAX_QUANTITY, 1..50),
            turn in 0_usize..50,
        ) {
            let sorted: Vec<OrderLine> = lines.into_iter().map(|(sku, quantity)| OrderLine { sku, quantity }).collect();
            let mut turned = sorted.clone();
            turned.rotate_left(turn % sorted.len());
            let request = Body { customer_id: 7, lines: turned };
            let checked = checked(request, Some("key-1"), &LimitSettings::default()).unwrap();
            prop_assert_eq!(checked.lines, sorted);
            prop_assert_eq!(checked.idempotency_key.as_deref(), Some("key-1"));
        }
    }
}

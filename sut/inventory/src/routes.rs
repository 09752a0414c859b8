//! The inventory's routes.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use observastack_kit::config::ConfigStore;
use observastack_kit::http::{HttpError, Request, Response, Router, json};
use serde::Deserialize;

use crate::cache::{Cache, LoadLost};
use crate::metrics::InventoryMetrics;
use crate::settings::{InventoryConfig, LimitSettings};
use crate::stock::{self, Line, Reserved, Stock};
use observastack_kit::database::{Database, DatabaseError};
use observastack_kit::service::{NAME, ServiceError, check_lines, is_name, read_json};

/// The most pieces in one line.
const MAX_QUANTITY: i32 = 10_000;

/// Stock by SKU; `None` is kept too, so that asking for what isn't there stays cheap.
pub type StockCache = Cache<String, Option<Stock>, DatabaseError>;

impl From<LoadLost> for DatabaseError {
    fn from(lost: LoadLost) -> Self {
        DatabaseError::Statement {
            statement: "read_stock",
            reason: lost.to_string(),
        }
    }
}

/// What the handlers work with.
#[derive(Debug)]
pub struct Inventory {
    /// The live configuration.
    pub config: ConfigStore<InventoryConfig>,
    /// The database.
    pub database: Database,
    /// The read cache.
    pub cache: StockCache,
    /// The counters.
    pub metrics: InventoryMetrics,
}

/// The body of `POST /reservations`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationRequest {
    /// The order's id: the same key again is the same reservation.
    pub key: String,
    /// What to hold.
    pub lines: Vec<Line>,
}

/// The routes with their handlers.
#[must_use]
pub fn routes(inventory: Arc<Inventory>) -> Router<Inventory> {
    Router::new(inventory)
        .get(
            "/stock/{sku}",
            async |inventory: Arc<Inventory>, request| {
                read_stock(&inventory, &request)
                    .await
                    .map_err(HttpError::from)
            },
        )
        .post(
            "/reservations",
            async |inventory: Arc<Inventory>, request| {
                reserve(&inventory, request).await.map_err(HttpError::from)
            },
        )
        .route(
            Method::DELETE,
            "/reservations/{key}",
            async |inventory: Arc<Inventory>, request| {
                release(&inventory, &request).await.map_err(HttpError::from)
            },
        )
}

/// 200 `{"sku","on_hand","reserved","available"}`, or 404. The header `x-cache` tells how it was had.
async fn read_stock(inventory: &Inventory, request: &Request) -> Result<Response, ServiceError> {
    let sku: String = request.param("sku")?;
    if !is_name(&sku) {
        return Err(ServiceError::not_found("item", sku));
    }
    let config = inventory.config.current();
    let load = {
        let (database, sku) = (inventory.database.clone(), sku.clone());
        async move { stock::read(&database, &sku).await }
    };
    let (outcome, result) = inventory
        .cache
        .get(sku.clone(), &config.config.cache, load)
        .await;
    inventory.metrics.cache_request(result);
    let stock = outcome
        .map_err(|error| ServiceError::from(error.as_ref()))?
        .ok_or_else(|| ServiceError::not_found("item", sku))?;
    let mut response = json(StatusCode::OK, &stock)?;
    response
        .headers_mut()
        .insert("x-cache", HeaderValue::from_static(result.as_str()));
    Ok(response)
}

/// 201 when the pieces are held now, 200 when they already were, 409 with the SKU when there are too few.
async fn reserve(inventory: &Inventory, mut request: Request) -> Result<Response, ServiceError> {
    let config = inventory.config.current();
    let reservation: ReservationRequest =
        read_json(&mut request, config.config.limits.max_body_bytes).await?;
    let lines = checked_lines(&reservation, &config.config.limits)?;
    let key = &reservation.key;
    let outcome = stock::reserve(&inventory.database, key, &lines).await?;
    inventory.metrics.reservation(match &outcome {
        Reserved::Created => "created",
        Reserved::Replayed => "replayed",
        Reserved::KeyInUse | Reserved::KeyReleased => "key_conflict",
        Reserved::UnknownSku(_) => "unknown_sku",
        Reserved::Insufficient { .. } => "insufficient",
    });
    let conflict = |code, message| ServiceError::new(StatusCode::CONFLICT, code, message);
    match outcome {
        Reserved::Created | Reserved::Replayed => {
            for line in &lines {
                inventory.cache.invalidate(&line.sku);
            }
            let status = if outcome == Reserved::Created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            Ok(json(
                status,
                &serde_json::json!({"key": key, "state": "held", "lines": lines}),
            )?)
        }
        Reserved::KeyInUse => Err(conflict(
            "reservation_key_in_use",
            format!("{key} holds other lines"),
        )),
        Reserved::KeyReleased => Err(conflict(
            "reservation_released",
            format!("{key} was released before"),
        )),
        Reserved::UnknownSku(sku) => {
            let message = format!("there is no item {sku}");
            Err(
                ServiceError::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_sku", message)
                    .with("sku", sku),
            )
        }
        Reserved::Insufficient {
            sku,
            requested,
            available,
        } => {
            let message = format!("{sku}: {requested} wanted, {available} available");
            Err(conflict("insufficient_stock", message)
                .with("sku", sku)
                .with("requested", requested)
                .with("available", available))
        }
    }
}

/// 200 with the lines given back: none if there was nothing to release, which is no error, for a compensation is
/// repeated until it is answered.
async fn release(inventory: &Inventory, request: &Request) -> Result<Response, ServiceError> {
    let key: String = request.param("key")?;
    if !is_name(&key) {
        return Err(ServiceError::not_found("reservation", key));
    }
    let lines = stock::release(&inventory.database, &key).await?;
    for line in &lines {
        inventory.cache.invalidate(&line.sku);
    }
    inventory.metrics.reservation("released");
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({"key": key, "state": "released", "lines": lines}),
    )?)
}

/// The lines sorted by SKU, or what is wrong with the request.
fn checked_lines(
    request: &ReservationRequest,
    limits: &LimitSettings,
) -> Result<Vec<Line>, ServiceError> {
    if !is_name(&request.key) {
        return Err(ServiceError::invalid(
            "key",
            format!("{:?}", request.key),
            NAME,
        ));
    }
    let lines = request
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.quantity));
    check_lines(lines, limits.max_lines, MAX_QUANTITY)?;
    let mut lines = request.lines.clone();
    lines.sort();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(key: &str, lines: &[(&str, i32)]) -> ReservationRequest {
        let lines = lines
            .iter()
            .map(|(sku, quantity)| Line {
                sku: (*sku).into(),
                quantity: *quantity,
            })
            .collect();
        ReservationRequest {
            key: key.into(),
            lines,
        }
    }

    #[test]
    fn refused_requests_name_the_field_the_value_and_what_is_allowed() {
        let limits = LimitSettings {
            max_lines: 2,
            ..LimitSettings::default()
        };
        let cases = [
            (request("", &[("P1", 1)]), "key: \"\" is not allowed"),
            (request("a b", &[("P1", 1)]), "key: \"a b\" is not allowed"),
            (
                request("k", &[]),
                "lines: 0 lines is not allowed, allowed: 1 to 2 lines",
            ),
            (
                request("k", &[("a", 1), ("b", 1), ("c", 1)]),
                "lines: 3 lines is not allowed",
            ),
            (
                request("k", &[("a", 1), ("a", 2)]),
                "lines.1.sku: a is not allowed, allowed: each SKU once",
            ),
            (
                request("k", &[("a", 0)]),
                "lines.0.quantity: 0 is not allowed, allowed: 1 to 10000",
            ),
            (
                request("k", &[("a'", 1)]),
                "lines.0.sku: \"a'\" is not allowed",
            ),
        ];
        for (request, expected) in cases {
            let error = checked_lines(&request, &limits).unwrap_err();
            assert_eq!(error.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(error.message.starts_with(expected), "{}", error.message);
        }
    }

    proptest! {
        #[test]
        fn accepted_lines_are_the_requested_ones_in_order_of_sku(
            lines in proptest::collection::btree_map("[A-Za-z0-9_-]{1,64}", 1_i32..=MAX_QUANTITY, 1..50),
            seed in any::<u64>(),
        ) {
            let sorted: Vec<Line> = lines.into_iter().map(|(sku, quantity)| Line { sku, quantity }).collect();
            let mut shuffled = sorted.clone();
            let turn = usize::try_from(seed % 50).unwrap() % shuffled.len();
            shuffled.rotate_left(turn);
            let request = ReservationRequest { key: "k".into(), lines: shuffled };
            prop_assert_eq!(checked_lines(&request, &LimitSettings::default()).unwrap(), sorted);
        }

        #[test]
        fn a_name_outside_the_alphabet_never_passes(name in ".*[^A-Za-z0-9_-].*") {
            prop_assert!(!is_name(&name));
        }
    }
}

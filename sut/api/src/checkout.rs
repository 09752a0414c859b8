//! Placing an order: two services have to agree on it without a transaction in common.
//!
//! ```text
//! prepare (database) ──> reserve (inventory) ──> write (database) ──> placed
//!                             │                      │
//!                             └── may have ──────────┴── failed ──> give back (inventory), in the background
//! ```
//!
//! The order's id is the reservation's key, so each step may be repeated. Whatever may be reserved for an order that
//! was not written is given back; only when nobody can tell whether it was written does the reservation stay.

use std::time::Duration;

use http::StatusCode;
use observastack_kit::database::{Database, DatabaseError};
use observastack_kit::service::ServiceError;

use crate::announcer::Announcer;
use crate::background::Background;
use crate::inventory::{InventoryClient, InventoryError};
use crate::metrics::ApiMetrics;
use crate::orders::{self, NewOrder, Order, OrderLine, Prepared, WriteError};
use crate::request_context::RequestContext;

/// Tries to give back a reservation, or to find out about an order, before leaving it to a person.
const TRIES: u32 = 8;
/// The pause after the first of them; doubles each time, so that together they take about 25 s.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// An order as a customer asks for it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRequest {
    /// Who asks.
    pub customer_id: i64,
    /// What for: sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
    /// Recognises a repeated request.
    pub idempotency_key: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub enum Placed {
    /// A new order.
    New(Order),
    /// The one that the same request placed earlier.
    Earlier(Order),
}

/// What placing an order works with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Where orders are written.
    pub database: Database,
    /// Where stock is held.
    pub inventory: std::sync::Arc<InventoryClient>,
    /// Whom to tell of a new order.
    pub announcer: Announcer,
    /// Where giving back goes on when the request has been answered.
    pub background: Background,
    /// The counters.
    pub metrics: ApiMetrics,
}

impl Checkout {
    /// Places the order. Run it as background work: it must not stop half-way because the client went away.
    ///
    /// # Errors
    /// What the client is told. Nothing is ordered then, or it could not be found out in time.
    pub async fn place(
        &self,
        context: &RequestContext,
        request: OrderRequest,
    ) -> Result<Placed, ServiceError> {
        let outcome = self.try_place(context, request).await;
        self.metrics.order(match &outcome {
            Ok(Placed::New(_)) => "placed",
            Ok(Placed::Earlier(_)) => "repeated",
            Err(error) if error.status.is_client_error() => "refused",
            Err(_) => "failed",
        });
        outcome
    }

    async fn try_place(
        &self,
        context: &RequestContext,
        request: OrderRequest,
    ) -> Result<Placed, ServiceError> {
        if let Some(earlier) = self.earlier(&request).await? {
            return Ok(earlier);
        }
        let order =
            match orders::prepare(&self.database, request.customer_id, &request.lines).await? {
                Prepared::Ready(id, lines) => NewOrder {
                    id,
                    customer_id: request.customer_id,
                    idempotency_key: request.idempotency_key.clone(),
                    lines,
                },
                Prepared::UnknownCustomer => {
                    return Err(unknown(
                        "unknown_customer",
                        "customer",
                        &request.customer_id.to_string(),
                    ));
                }
                Prepared::UnknownSku(sku) => return Err(unknown("unknown_sku", "product", &sku)),
            };
        if let Err(error) = self
            .inventory
            .reserve(context, order.id, &request.lines)
            .await
        {
            if error.may_have_happened() {
                self.give_back(context, order, None);
            }
            return Err(not_reserved(error));
        }
        match orders::write(&self.database, &order).await {
            Ok(placed_at) => {
                self.announcer.announce();
                Ok(self.written(context, order, placed_at))
            }
            Err(WriteError::NotWritten(error)) => {
                self.give_back(context, order, None);
                Err(error.into())
            }
            Err(WriteError::KeyTaken) => {
                self.give_back(context, order, None);
                let earlier = self.earlier(&request).await?;
                earlier
                    .ok_or_else(|| ServiceError::unavailable("idempotency_key_busy", "try again"))
            }
            Err(WriteError::Unknown(error)) => {
                let answer = ServiceError::from(&error);
                self.give_back(context, order, Some(error));
                Err(answer)
            }
        }
    }

    /// The order that the request's key stands for.
    async fn earlier(&self, request: &OrderRequest) -> Result<Option<Placed>, ServiceError> {
        let Some(key) = &request.idempotency_key else {
            return Ok(None);
        };
        let Some(order) = orders::find_by_key(&self.database, key).await? else {
            return Ok(None);
        };
        let same_lines = order.lines.len() == request.lines.len()
            && order
                .lines
                .iter()
                .zip(&request.lines)
                .all(|(a, b)| a.sku == b.sku && a.quantity == b.quantity);
        if order.customer_id == request.customer_id && same_lines {
            return Ok(Some(Placed::Earlier(order)));
        }
        let message = format!(
            "the key stands for order {}, which is another one",
            order.id
        );
        Err(ServiceError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            message,
        ))
    }

    fn written(&self, context: &RequestContext, order: NewOrder, placed_at: String) -> Placed {
        let total_cents = orders::total_cents(&order.lines);
        tracing::info!(
            request_id = context.request_id,
            order_id = order.id,
            total_cents,
            "order placed"
        );
        let NewOrder {
            id,
            customer_id,
            lines,
            ..
        } = order;
        Placed::New(Order {
            id,
            customer_id,
            placed_at,
            total_cents,
            confirmed_at: None,
            lines,
        })
    }

    /// Gives back what is reserved for an order, in the background; first finds out whether the order was written if
    /// that is in doubt.
    fn give_back(&self, context: &RequestContext, order: NewOrder, doubt: Option<DatabaseError>) {
        let (checkout, context) = (self.clone(), context.clone());
        self.background.spawn(async move {
            let outcome = match doubt {
                Some(error) => checkout.resolve(&context, &order, &error).await,
                None => checkout.release(&context, order.id).await,
            };
            checkout.metrics.compensation(outcome);
            let request_id = context.request_id;
            if outcome == "gave_up" {
                tracing::error!(
                    request_id,
                    order_id = order.id,
                    "stock may stay reserved for an order that does not exist: release the reservation of this id"
                );
            } else {
                tracing::warn!(request_id, order_id = order.id, outcome, "order failed after its reservation");
            }
        });
    }

    async fn resolve(
        &self,
        context: &RequestContext,
        order: &NewOrder,
        doubt: &DatabaseError,
    ) -> &'static str {
        tracing::warn!(order_id = order.id, error = %doubt, "it is not known whether the order was written");
        for attempt in 0..TRIES {
            match orders::was_written(&self.database, order).await {
                Ok(true) => return "not_needed",
                Ok(false) => return self.release(context, order.id).await,
                Err(error) => tracing::debug!(order_id = order.id, %error, "still not known"),
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        "gave_up"
    }

    async fn release(&self, context: &RequestContext, order_id: i64) -> &'static str {
        for attempt in 0..TRIES {
            match self.inventory.release(context, order_id).await {
                Ok(()) => return "released",
                Err(error) => {
                    tracing::debug!(order_id, %error, "the reservation is not given back yet")
                }
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        "gave_up"
    }
}

fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(5))
}

fn unknown(code: &'static str, what: &str, which: &str) -> ServiceError {
    ServiceError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        code,
        format!("there is no {what} {which}"),
    )
    .with(what, which)
}

/// What the client is told when the inventory did not reserve.
fn not_reserved(error: InventoryError) -> ServiceError {
    let answer = match &error {
        InventoryError::Refused { code, error, .. } if code == "insufficient_stock" => {
            let message = error["message"].as_str().unwrap_or("not enough stock");
            return ServiceError::new(StatusCode::CONFLICT, "insufficient_stock", message)
                .with("sku", error["sku"].clone())
                .with("requested", error["requested"].clone())
                .with("available", error["available"].clone());
        }
        InventoryError::Timeout { .. } => ServiceError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "inventory_timeout",
            "the inventory took too long",
        ),
        InventoryError::Unreachable { .. } => {
            ServiceError::unavailable("inventory_unreachable", "the inventory is not reachable")
        }
        InventoryError::Failed { .. } | InventoryError::Refused { .. } => {
            ServiceError::unavailable("inventory_failed", "the inventory could not hold the stock")
        }
    };
    answer.because(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_client_learns_which_item_is_short_and_otherwise_only_when_to_come_back() {
        let error = json!({"code": "insufficient_stock", "message": "P1: 5 wanted, 2 available", "sku": "P1",
                           "requested": 5, "available": 2});
        let short = InventoryError::Refused {
            status: StatusCode::CONFLICT,
            code: "insufficient_stock".into(),
            error,
        };
        let answer = not_reserved(short);
        assert_eq!(
            (answer.status.as_u16(), answer.details["sku"].as_str()),
            (409, Some("P1"))
        );
        assert_eq!(answer.details["available"], 2);

        let timeout = not_reserved(InventoryError::Timeout { timeout_ms: 5 });
        assert_eq!(
            (timeout.status.as_u16(), timeout.code),
            (504, "inventory_timeout")
        );
        let reason = "10.0.0.1:8200 refused".to_owned();
        let down = not_reserved(InventoryError::Unreachable { reason });
        assert_eq!(down.status.as_u16(), 503);
        assert_eq!(down.headers[0].0, http::header::RETRY_AFTER);
        assert!(!down.message.contains("10.0.0.1") && down.cause.unwrap().contains("10.0.0.1"));
    }

    #[test]
    fn giving_back_is_tried_for_about_half_a_minute() {
        let total: Duration = (0..TRIES).map(pause).sum();
        assert!((20..40).contains(&total.as_secs()), "{total:?}");
    }
}

//! Calls to the inventory service: bounded in time, retried a little, part of the caller's trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use observastack_kit::backoff;
use observastack_kit::config::ConfigStore;
use observastack_telemetry::traces::{self, TracedSpan};
use rand::Rng;
use serde_json::{Value, json};

use crate::metrics::ApiMetrics;
use crate::orders::OrderLine;
use crate::request_context::RequestContext;
use crate::settings::{ApiConfig, InventorySettings};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Shorter than the inventory keeps an idle connection, so that a request does not meet its closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the inventory did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InventoryError {
    /// No connection on any attempt: it certainly did nothing.
    #[error("the inventory cannot be reached: {reason}")]
    Unreachable {
        /// What the last attempt said.
        reason: String,
    },
    /// No answer in time on the last attempt; it may have done it all the same.
    #[error("the inventory did not answer within {timeout_ms} ms")]
    Timeout {
        /// The limit for one attempt.
        timeout_ms: u64,
    },
    /// The connection broke, or the answer makes no sense, or is a 5xx; it may have done it all the same.
    #[error("the inventory failed: {reason}")]
    Failed {
        /// What the last attempt said.
        reason: String,
    },
    /// It answered 4xx: it did nothing.
    #[error("the inventory refused with {status}: {code}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its `error.code`.
        code: String,
        /// Its whole `error`.
        error: Value,
    },
}

impl InventoryError {
    /// Whether the inventory may have done what was asked.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self,
            InventoryError::Timeout { .. } | InventoryError::Failed { .. }
        )
    }

    fn kind(&self) -> &'static str {
        match self {
            InventoryError::Unreachable { .. } => "connect",
            InventoryError::Timeout { .. } => "timeout",
            InventoryError::Failed { .. } => "failed",
            InventoryError::Refused { .. } => "refused",
        }
    }
}

/// The client; its settings are read for each call.
#[derive(Debug)]
pub struct InventoryClient {
    base: Uri,
    config: ConfigStore<ApiConfig>,
    connections: ArcSwap<Connections>,
    metrics: ApiMetrics,
}

/// Kept-alive connections, and the connect timeout that they are made with.
#[derive(Debug)]
struct Connections {
    connect_timeout_ms: u64,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Connections {
    fn new(connect_timeout_ms: u64) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_millis(connect_timeout_ms)));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Connections {
            connect_timeout_ms,
            client,
        }
    }
}

/// What is asked, with its place among the metrics.
struct Call {
    method: Method,
    template: &'static str,
    path: String,
    body: Option<Value>,
}

impl InventoryClient {
    /// A client for the inventory at `base`, such as `http://127.0.0.1:8200`.
    pub fn new(base: Uri, config: ConfigStore<ApiConfig>, metrics: ApiMetrics) -> Self {
        let connections = Connections::new(config.current().config.inventory.connect_timeout_ms);
        InventoryClient {
            base,
            config,
            connections: ArcSwap::from_pointee(connections),
            metrics,
        }
    }

    /// Holds the lines for the order.
    ///
    /// # Errors
    /// [`InventoryError::Refused`] with `insufficient_stock` and the SKU when there are too few pieces.
    pub async fn reserve(
        &self,
        context: &RequestContext,
        order_id: i64,
        lines: &[OrderLine],
    ) -> Result<(), InventoryError> {
        let call = Call {
            method: Method::POST,
            template: "/reservations",
            path: "/reservations".to_owned(),
            body: Some(json!({"key": order_id.to_string(), "lines": lines})),
        };
        self.call(context, &call).await.map(drop)
    }

    /// Gives back whatever is held for the order, now or later.
    ///
    /// # Errors
    /// It could not be reached or did not answer well.
    pub async fn release(
        &self,
        context: &RequestContext,
        order_id: i64,
    ) -> Result<(), InventoryError> {
        let call = Call {
            method: Method::DELETE,
            template: "/reservations/{key}",
            path: format!("/reservations/{order_id}"),
            body: None,
        };
        self.call(context, &call).await.map(drop)
    }

    /// How many pieces of an item can still be ordered; `None` when the inventory does not know it.
    ///
    /// # Errors
    /// It could not be reached or did not answer well.
    pub async fn available(
        &self,
        context: &RequestContext,
        sku: &str,
    ) -> Result<Option<i64>, InventoryError> {
        let call = Call {
            method: Method::GET,
            template: "/stock/{sku}",
            path: format!("/stock/{sku}"),
            body: None,
        };
        match self.call(context, &call).await {
            Ok(stock) => Ok(stock["available"].as_i64()),
            Err(InventoryError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every call may be repeated: the inventory recognises a key it has seen.
    async fn call(&self, context: &RequestContext, call: &Call) -> Result<Value, InventoryError> {
        let settings = self.config.current().config.inventory.clone();
        let mut may_have_happened = false;
        let mut attempt = 0;
        loop {
            let error = match self.attempt(context, call, &settings).await {
                Err(error) if is_worth_retrying(&error) => error,
                outcome => return outcome,
            };
            may_have_happened |= error.may_have_happened();
            if attempt == settings.retries {
                return Err(match error {
                    // An earlier attempt got through.
                    InventoryError::Unreachable { reason } if may_have_happened => {
                        InventoryError::Failed { reason }
                    }
                    error => error,
                });
            }
            self.metrics.inventory_retry(error.kind());
            let pause = backoff(settings.backoff_ms, attempt, rand::rng().random());
            tracing::debug!(
                request_id = context.request_id, attempt, %error,
                "the inventory is asked again"
            );
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        context: &RequestContext,
        call: &Call,
        settings: &InventorySettings,
    ) -> Result<Value, InventoryError> {
        let span = traces::client(call.method.as_str(), call.template);
        let started = Instant::now();
        let limit = Duration::from_millis(settings.request_timeout_ms);
        let outcome = tokio::time::timeout(limit, self.exchange(context, &span, call, settings))
            .await
            .unwrap_or(Err(InventoryError::Timeout {
                timeout_ms: settings.request_timeout_ms,
            }));
        let (status, error_type) = match &outcome {
            Ok((status, _)) => (status.as_u16(), ""),
            Err(error) => (0, error.kind()),
        };
        match &outcome {
            Ok(_) => span.answered(status, status >= 400),
            Err(error) => span.failed(error_type, || error.to_string()),
        }
        drop(span);
        self.metrics.inventory_called(
            call.method.as_str(),
            call.template,
            status,
            error_type,
            started.elapsed(),
        );
        let (status, answer) = outcome?;
        judge(status, answer)
    }

    async fn exchange(
        &self,
        context: &RequestContext,
        span: &TracedSpan,
        call: &Call,
        settings: &InventorySettings,
    ) -> Result<(StatusCode, Bytes), InventoryError> {
        let failed = |error: &dyn std::error::Error| InventoryError::Failed {
            reason: with_causes(error),
        };
        let base = self.base.to_string();
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", base.trim_end_matches('/'), call.path));
        if let Some(headers) = request.headers_mut() {
            span.inject(headers);
        }
        if !context.request_id.is_empty() {
            request = request.header("x-request-id", &context.request_id);
        }
        let body = match &call.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let request = request.body(body).map_err(|error| failed(&error))?;
        let response = self
            .connections(settings)
            .client
            .request(request)
            .await
            .map_err(|error| {
                if error.is_connect() {
                    InventoryError::Unreachable {
                        reason: with_causes(&error),
                    }
                } else {
                    failed(&error)
                }
            })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| InventoryError::Failed {
            reason: with_causes(error.as_ref()),
        })?;
        Ok((status, body.to_bytes()))
    }

    /// The connections, or new ones if the connect timeout has changed.
    fn connections(&self, settings: &InventorySettings) -> Arc<Connections> {
        let current = self.connections.load_full();
        if current.connect_timeout_ms == settings.connect_timeout_ms {
            return current;
        }
        let fresh = Arc::new(Connections::new(settings.connect_timeout_ms));
        self.connections.store(Arc::clone(&fresh));
        fresh
    }
}

/// What the inventory's answer means.
fn judge(status: StatusCode, body: Bytes) -> Result<Value, InventoryError> {
    let parsed = serde_json::from_slice::<Value>(&body);
    if status.is_server_error() {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        return Err(InventoryError::Failed {
            reason: format!("{status}: {text}"),
        });
    }
    let answer = parsed.map_err(|error| InventoryError::Failed {
        reason: format!("{status} without JSON: {error}"),
    })?;
    if status.is_success() {
        return Ok(answer);
    }
    let error = answer["error"].clone();
    let code = error["code"].as_str().unwrap_or("unknown").to_owned();
    Err(InventoryError::Refused {
        status,
        code,
        error,
    })
}

fn is_worth_retrying(error: &InventoryError) -> bool {
    !matches!(error, InventoryError::Refused { .. })
}

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause before retry number `attempt` (from 0).
fn backoff(backoff_ms: u64, attempt: u32, random: f64) -> Duration {
    backoff::pause(
        Duration::from_millis(backoff_ms),
        attempt,
        LONGEST_PAUSE,
        random,
    )
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_judged_by_what_the_inventory_may_have_done() {
        assert_eq!(
            judge(StatusCode::CREATED, Bytes::from("{\"key\":\"1\"}")).unwrap()["key"],
            "1"
        );
        let body = Bytes::from(r#"{"error":{"code":"insufficient_stock","sku":"P1"}}"#);
        let refused = judge(StatusCode::CONFLICT, body).unwrap_err();
        assert!(!refused.may_have_happened() && !is_worth_retrying(&refused));
        assert!(
            matches!(refused, InventoryError::Refused { code, .. } if code == "insufficient_stock")
        );
        for (status, body) in [(503, "{}"), (500, ""), (201, "<html>"), (409, "oops")] {
            let error =
                judge(StatusCode::from_u16(status).unwrap(), Bytes::from(body)).unwrap_err();
            assert!(
                error.may_have_happened() && is_worth_retrying(&error),
                "{status}: {error}"
            );
        }
        let unreachable = InventoryError::Unreachable {
            reason: "refused".into(),
        };
        assert!(!unreachable.may_have_happened() && is_worth_retrying(&unreachable));
    }

    proptest! {
        #[test]
        fn the_pause_lies_between_half_and_all_of_the_doubled_backoff(
            backoff_ms in 0_u64..10_000, attempt in 0_u32..200, random in 0.0_f64..1.0,
        ) {
            let pause = backoff(backoff_ms, attempt, random).as_secs_f64() * 1_000.0;
            let full = (backoff_ms as f64 * 2_f64.powi(attempt as i32)).min(60_000.0);
            prop_assert!(pause >= full / 2.0 - 0.001 && pause <= full + 0.001, "{pause} of {full}");
        }
    }
}

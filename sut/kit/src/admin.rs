//! The admin API: the configuration contract over HTTP on a Unix socket, away from the users' port.
//!
//! | request | answer |
//! |---|---|
//! | GET /config | 200 [`ConfigView`], `ETag: "<version>"` |
//! | PUT /config | the whole document; fields left out get their defaults |
//! | PATCH /config | a JSON merge patch (RFC 7396); `null` gives a field its default back |
//! | DELETE /config | back to the site file or the defaults |
//! | GET /healthz, /livez, /metrics | see [`crate::ops`] |
//!
//! A change answers as GET does. With `If-Match: "<version>"` it is refused with 412 when the version is another one
//! by now. Errors: `{"error","fields":[{"field","value","allowed"}]}` with 400 (not JSON), 404, 405, 408, 412, 413,
//! 422 (not allowed), 507 (disk full), 500. After an error nothing has changed.

mod socket;

use std::io;
use std::sync::Arc;

use hyper::header::{ETAG, HeaderValue, IF_MATCH};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::config::{Change, ConfigError, ConfigStore, IfMatch, ServiceConfig, Source};
use crate::http::{self, HttpError, Options, Request, Response, Router, Server};
use crate::ops::{self, Ops};

pub use socket::{AdminSocket, bind};

/// Operators at a time; more wait.
const MAX_CONNECTIONS: usize = 64;

/// What GET /config shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// The service's name, e.g. `observastack-api`.
    pub service: String,
    /// The configuration's version.
    pub version: u64,
    /// Where it comes from.
    pub source: Source,
    /// The configuration itself, complete.
    pub config: Value,
    /// The dotted paths of fields that were changed but take effect at the next start.
    pub pending_restart: Vec<String>,
}

/// Serves the admin API until `shutdown` turns true, then drains and removes the socket. Usable in any tokio runtime,
/// pingora's too.
///
/// # Errors
/// The socket cannot be used in this runtime.
pub async fn serve<C: ServiceConfig>(
    socket: AdminSocket,
    service: &'static str,
    store: ConfigStore<C>,
    ops: Ops,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let options = || Options {
        max_connections: MAX_CONNECTIONS,
        ..Options::default()
    };
    let (listener, _removed_at_the_end) = socket.into_parts();
    let router = routes(service, store.clone()).merge(ops::routes(ops));
    let server = Server::new(listener)
        .options(options)
        .config_version(move || store.version());
    server.serve(router, shutdown).await.map(drop)
}

/// The routes of the admin API's `/config` alone, for a service that serves them in its own way.
#[must_use]
pub fn routes<C: ServiceConfig>(service: &'static str, store: ConfigStore<C>) -> Router<Admin<C>> {
    Router::new(Arc::new(Admin { service, store }))
        .get("/config", async |admin: Arc<Admin<C>>, _| admin.view())
        .route(
            Method::PUT,
            "/config",
            async |admin: Arc<Admin<C>>, mut request: Request| {
                let document = request.json_value().await?;
                admin.change(Change::Replace(document), &request).await
            },
        )
        .route(
            Method::PATCH,
            "/config",
            async |admin: Arc<Admin<C>>, mut request: Request| {
                let patch = request.json_value().await?;
                admin.change(Change::Patch(patch), &request).await
            },
        )
        .route(
            Method::DELETE,
            "/config",
            async |admin: Arc<Admin<C>>, request: Request| {
                admin.change(Change::Reset, &request).await
            },
        )
}

/// What the handlers of `/config` work on.
#[derive(Debug)]
pub struct Admin<C> {
    service: &'static str,
    store: ConfigStore<C>,
}

impl<C: ServiceConfig> Admin<C> {
    fn view(&self) -> Result<Response, HttpError> {
        self.show(&self.store.current())
    }

    async fn change(&self, change: Change, request: &Request) -> Result<Response, HttpError> {
        let only = if_match(request)?;
        let now = self.store.change(change, only).await.map_err(refused)?;
        self.show(&now)
    }

    fn show(&self, now: &crate::config::Versioned<C>) -> Result<Response, HttpError> {
        let view = ConfigView {
            service: self.service.to_owned(),
            version: now.version,
            source: now.source,
            config: serde_json::to_value(&now.config).map_err(HttpError::internal)?,
            pending_restart: now
                .pending_restart
                .iter()
                .map(|field| (*field).to_owned())
                .collect(),
        };
        let mut response = http::json(StatusCode::OK, &view)?;
        let etag =
            HeaderValue::from_str(&format!("\"{}\"", now.version)).map_err(HttpError::internal)?;
        response.headers_mut().insert(ETAG, etag);
        Ok(response)
    }
}

/// The versions in `If-Match`; several headers and lists are allowed by HTTP.
fn if_match(request: &Request) -> Result<IfMatch, HttpError> {
    let malformed = || {
        let message =
            "If-Match is not understood, allowed: * or the ETag of an earlier answer, e.g. \"3\"";
        HttpError::new(StatusCode::BAD_REQUEST, message)
    };
    let mut versions = Vec::new();
    for header in request.headers().get_all(IF_MATCH) {
        for tag in header
            .to_str()
            .map_err(|_| malformed())?
            .split(',')
            .map(str::trim)
        {
            if tag == "*" {
                return Ok(IfMatch::Any);
            }
            // A weak tag never matches here, and neither does one that is no version of ours (RFC 9110, 13.1.1).
            let weak = tag.starts_with("W/");
            let tag = tag.trim_start_matches("W/");
            let tag = tag
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .ok_or_else(malformed)?;
            versions.push(tag.parse().ok().filter(|_| !weak).unwrap_or(0));
        }
    }
    Ok(if versions.is_empty() {
        IfMatch::Any
    } else {
        IfMatch::Versions(versions)
    })
}

fn refused(error: ConfigError) -> HttpError {
    let status = match &error {
        ConfigError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ConfigError::VersionMismatch { .. } => StatusCode::PRECONDITION_FAILED,
        ConfigError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpError::new(status, error.to_string()).with_fields(error.fields().to_vec())
}

//! One request to a collector.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// What requests are made with; keeps its connections.
pub(crate) type Sender = Client<HttpConnector, Full<Bytes>>;

/// One of these.
pub(crate) fn sender() -> Sender {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Posts a body.
///
/// # Errors
/// It is not taken, in words.
pub(crate) async fn post(
    sender: &Sender,
    target: &Uri,
    content_type: &str,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<(), String> {
    let request = Request::post(target)
        .header(header::CONTENT_TYPE, content_type)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(timeout, sender.request(request)).await {
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(answer)) if answer.status() == StatusCode::OK => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answered {}", answer.status())),
    }
}

//! The injector's socket, spoken to directly: the time of starting a program is not the injector's.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result, bail};
use observastack_spec::{
    api::{FaultStatus, INJECTOR_SOCKET},
    fault::FaultRequest,
};

/// Starts a fault and gives its status.
pub(crate) fn inject(request: &FaultRequest) -> Result<FaultStatus> {
    let body = serde_json::to_string(request)?;
    Ok(serde_json::from_str(&exchange("POST", "/faults", &body)?)?)
}

/// Ends a fault and gives its last status.
pub(crate) fn clear(id: u64) -> Result<FaultStatus> {
    Ok(serde_json::from_str(&exchange(
        "DELETE",
        &format!("/faults/{id}"),
        "",
    )?)?)
}

fn exchange(method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(INJECTOR_SOCKET)
        .with_context(|| format!("cannot reach {INJECTOR_SOCKET}"))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the injector's answer has no end of headers")?;
    if !head.starts_with("HTTP/1.1 20") {
        bail!("the injector refused: {body}");
    }
    Ok(body.to_owned())
}

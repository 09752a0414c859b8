//! Where requests go.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use http::Uri;

/// How long the first connection may take: what does not answer by then is no target.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a target's URL.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn parse(text: &str) -> Result<Uri, String> {
    let allowed = "a URL such as http://127.0.0.1:8000/products";
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("{error}; expected: {allowed}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        (Some("https"), _) => Err(format!("there is no TLS here; expected: {allowed}")),
        _ => Err(format!("expected: {allowed}")),
    }
}

/// The first of its addresses that takes a connection.
pub(super) fn reach(uri: &Uri) -> Result<SocketAddr> {
    let host = uri.host().context("a URL without a host")?;
    let port = uri.port_u16().unwrap_or(80);
    // A name may be an IPv6 address in brackets.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (name, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot find the address of {host}"))?
        .collect();
    let mut last = None;
    for address in &addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(_) => return Ok(*address),
            Err(error) => last = Some((address, error)),
        }
    }
    match last {
        Some((address, error)) => bail!("the target cannot be reached: {address}: {error}"),
        None => bail!("{host} has no address"),
    }
}

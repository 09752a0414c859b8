//! Where requests go.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use http::Uri;

/// The lab's shop, where nobody says otherwise.
pub const SHOP: &str = "http://127.0.0.1:8000";

/// A target that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Its name has no address.
    #[error("cannot find the address of {host}: {source}")]
    Name {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// It has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// None of its addresses takes a connection.
    #[error("the target cannot be reached: {address}: {source}")]
    Unreachable {
        /// The last that was tried.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// How long the first connection may take: what does not answer by then is no target.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a target's URL.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(text: &str) -> Result<Uri, String> {
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
///
/// # Errors
/// See [`TargetError`].
pub fn reach(uri: &Uri) -> Result<SocketAddr, TargetError> {
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(80);
    // A name may be an IPv6 address in brackets.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (name, port)
        .to_socket_addrs()
        .map_err(|source| TargetError::Name {
            host: host.to_owned(),
            source,
        })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(address),
            Err(source) => last = Some(TargetError::Unreachable { address, source }),
        }
    }
    Err(last.unwrap_or_else(|| TargetError::NoAddress {
        host: host.to_owned(),
    }))
}

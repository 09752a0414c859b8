//! A request's body: read in time, within its size, unpacked.

use std::io::Read as _;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;

use super::Limits;
use super::memory::Share;

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than allowed, as it came or unpacked.
    #[error("the body is larger than {limit} bytes (unpacked): send fewer items in a request")]
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// Too many are being read.
    #[error("too many requests are being read: send again in 1 s")]
    Busy,
    /// It did not come in time.
    #[error("the body did not come within {limit_s} s")]
    TooSlow {
        /// What is allowed.
        limit_s: u64,
    },
    /// The connection broke.
    #[error("the body ended early: {reason}")]
    Broken {
        /// What the connection says.
        reason: String,
    },
    /// Its packing is not known.
    #[error("Content-Encoding {found:?} is not known; allowed: gzip, identity, or none")]
    Encoding {
        /// What was sent.
        found: String,
    },
    /// It is not what its packing says.
    #[error("the body is not valid gzip: {reason}")]
    Gzip {
        /// What the decoder says.
        reason: String,
    },
}

/// Reads and unpacks a body.
pub(crate) async fn read(
    body: Body,
    encoding: Option<&str>,
    limits: &Limits,
    share: &mut Share,
) -> Result<Bytes, BodyError> {
    let packed = match encoding.map(str::trim) {
        None | Some("" | "identity") => false,
        Some(name) if name.eq_ignore_ascii_case("gzip") => true,
        Some(name) => {
            return Err(BodyError::Encoding {
                found: name.to_owned(),
            });
        }
    };
    let raw = tokio::time::timeout(limits.body_time, collect(body, limits, share))
        .await
        .map_err(|_| BodyError::TooSlow {
            limit_s: limits.body_time.as_secs(),
        })??;
    if !packed {
        return Ok(raw);
    }
    let mut too_much = false;
    let unpacked = inflate(&raw, limits.body_bytes, |bytes| {
        too_much = !share.grow(bytes);
        !too_much
    });
    if too_much {
        return Err(BodyError::Busy);
    }
    unpacked.map(Bytes::from)
}

async fn collect(mut body: Body, limits: &Limits, share: &mut Share) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge {
        limit: limits.body_bytes,
    };
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken {
            reason: error.to_string(),
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limits.body_bytes {
            return Err(too_large);
        }
        if !share.grow(data.len()) {
            return Err(BodyError::Busy);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Unpacks gzip up to a limit; `may_grow` is asked for each block.
///
/// # Errors
/// [`BodyError::TooLarge`] and [`BodyError::Gzip`].
pub fn inflate(
    packed: &[u8],
    limit: usize,
    mut may_grow: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, BodyError> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut unpacked = Vec::new();
    let mut block = [0_u8; 16 << 10];
    loop {
        let read = decoder.read(&mut block).map_err(|error| BodyError::Gzip {
            reason: error.to_string(),
        })?;
        if read == 0 {
            return Ok(unpacked);
        }
        if unpacked.len() + read > limit || !may_grow(read) {
            return Err(BodyError::TooLarge { limit });
        }
        unpacked.extend_from_slice(block.get(..read).unwrap_or_default());
    }
}

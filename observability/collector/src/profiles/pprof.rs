//! A profile, as it came.

use crate::otlp::inflate;
use observastack_telemetry::pprof::Profile;
use prost::Message as _;

use super::PPROF_BYTES;

/// Decodes a profile, gzipped or not.
///
/// # Errors
/// What is wrong with it.
pub fn decode(pprof: &[u8]) -> Result<Profile, String> {
    let is_gzip = pprof.starts_with(&[0x1f, 0x8b]);
    let unpacked;
    let plain = if is_gzip {
        unpacked = inflate(pprof, PPROF_BYTES, |_| true).map_err(|error| error.to_string())?;
        &unpacked
    } else {
        pprof
    };
    Profile::decode(plain).map_err(|error| format!("not a pprof: {error}"))
}

//! pprof's profile.proto: what a flame graph needs of it.

use crate::otlp::inflate;

use super::PPROF_BYTES;

/// A profile.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
}

/// What a value is, as indices of strings.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    pub kind: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack, the leaf first, and its values.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

/// An address, and the functions that it is in, the innermost first.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A function at an address.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
}

/// A function; its name is an index of strings.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
}

impl Profile {
    /// A string of the table; empty for an index that is not in it.
    #[must_use]
    pub fn text(&self, index: i64) -> &str {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.string_table.get(index))
            .map_or("", String::as_str)
    }
}

/// Decodes a profile, gzipped or not.
///
/// # Errors
/// What is wrong with it.
pub fn decode(pprof: &[u8]) -> Result<Profile, String> {
    use prost::Message as _;
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

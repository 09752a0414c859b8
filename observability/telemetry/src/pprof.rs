//! Profiles as messages: pprof's profile.proto, what a flame graph needs of it, and the push API of Pyroscope's, by the Connect protocol.

/// Where a Pyroscope server, and the collector, takes profiles.
pub const PUSH_PATH: &str = "/push.v1.PusherService/Push";

/// What a request with profiles says that it is.
pub const CONTENT_TYPE: &str = "application/proto";

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
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
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

/// push/v1/push.proto.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<RawProfileSeries>,
}

/// Profiles with the same labels.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<RawSample>,
}

/// One profile.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    pub raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    pub id: String,
}

/// types/v1/types.proto.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct LabelPair {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

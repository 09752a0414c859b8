//! OTLP messages into rows: pure, and total: whatever was sent, each item is either a row or counted as rejected.

mod attributes;
mod logs;
mod metrics;
mod spans;

pub(crate) use attributes::hex;
pub use attributes::{any_value, object};
pub use logs::logs;
pub use metrics::data_points;
pub use spans::spans;

/// What became of one request's items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted<R> {
    /// Those that are valid.
    pub rows: Vec<R>,
    /// How many are not.
    pub rejected: usize,
    /// Why the first of them is not.
    pub why: String,
}

impl<R> Converted<R> {
    fn new() -> Self {
        Self {
            rows: Vec::new(),
            rejected: 0,
            why: String::new(),
        }
    }

    fn reject(&mut self, why: impl FnOnce() -> String) {
        if self.rejected == 0 {
            self.why = why();
        }
        self.rejected += 1;
    }
}

/// An id of exactly N bytes that are not all zero.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(bytes)
        .ok()
        .filter(|id| id.iter().any(|byte| *byte != 0))
}

/// SQLite's integers are signed; a time beyond the year 2262 is not meant.
fn time_ns(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

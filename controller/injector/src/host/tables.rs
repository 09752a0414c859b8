//! Lines of device-mapper tables, composed from a device's plain `linear` one. Pure.
//!
//! The formats are those of the kernel's `Documentation/admin-guide/device-mapper/{linear,delay,dm-flakey}.rst`.

use std::{fmt, str::FromStr};

/// dm-flakey's feature that 6.1 does not have.
pub(super) const ERROR_READS: &str = "error_reads";

/// A table of one `linear` line. Lengths and offsets are sectors of 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    start: u64,
    length: u64,
    device: String,
    offset: u64,
}

/// Why a table cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It is not one linear line.
    #[error(
        "its table is {0:?}; a device with one line `START LENGTH linear DEVICE OFFSET` would do"
    )]
    NotLinear(String),
    /// dm-flakey without an error.
    #[error("neither reads nor writes would fail; at least one of them has to")]
    NoError,
    /// dm-flakey that is never down.
    #[error("the device would never be down: down must be 1 s or more")]
    NeverDown,
}

impl FromStr for Linear {
    type Err = TableError;

    fn from_str(table: &str) -> Result<Self, TableError> {
        let not_linear = || TableError::NotLinear(table.to_owned());
        let fields: Vec<&str> = table.split_whitespace().collect();
        let [start, length, "linear", device, offset] = fields[..] else {
            return Err(not_linear());
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| not_linear());
        Ok(Self {
            start: number(start)?,
            length: number(length)?,
            device: device.to_owned(),
            offset: number(offset)?,
        })
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start,
            length,
            device,
            offset,
        } = self;
        write!(f, "{start} {length} linear {device} {offset}")
    }
}

/// A table that delays reads, writes and flushes by so many milliseconds each.
#[must_use]
pub fn delay(original: &Linear, read_ms: u32, write_ms: u32, flush_ms: u32) -> String {
    let Linear {
        start,
        length,
        device,
        offset,
    } = original;
    format!(
        "{start} {length} delay {device} {offset} {read_ms} {device} {offset} {write_ms} {device} {offset} {flush_ms}"
    )
}

/// A table that works for `up_s` seconds and then fails reads, writes or both for `down_s`, in turn.
///
/// Both need no feature of dm-flakey's, writes `error_writes`, and reads alone `error_reads`, which 6.1 does not have.
pub fn flakey(
    original: &Linear,
    up_s: u32,
    down_s: u32,
    error_reads: bool,
    error_writes: bool,
) -> Result<String, TableError> {
    if down_s == 0 {
        return Err(TableError::NeverDown);
    }
    let features = match (error_reads, error_writes) {
        (true, true) => String::new(),
        (true, false) => format!(" 1 {ERROR_READS}"),
        (false, true) => " 1 error_writes".to_owned(),
        (false, false) => return Err(TableError::NoError),
    };
    let Linear {
        start,
        length,
        device,
        offset,
    } = original;
    Ok(format!(
        "{start} {length} flakey {device} {offset} {up_s} {down_s}{features}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear() -> Linear {
        "0 8388608 linear 254:0 2048".parse().unwrap()
    }

    #[test]
    fn a_linear_table_survives_reading_and_writing() {
        assert_eq!(linear().to_string(), "0 8388608 linear 254:0 2048");
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        for table in [
            "",
            "0 8388608 crypt aes 254:0 2048",
            "0 100 linear 254:0 0\n100 100 linear 254:1 0",
            "0 many linear 254:0 0",
            "0 8388608 delay 254:0 2048 5",
        ] {
            let error = table.parse::<Linear>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("{table:?}")) && error.contains("START LENGTH linear"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_delay_has_a_triple_for_reads_writes_and_flushes() {
        assert_eq!(
            delay(&linear(), 5, 20, 300),
            "0 8388608 delay 254:0 2048 5 254:0 2048 20 254:0 2048 300"
        );
    }

    #[test]
    fn an_error_names_the_feature_that_it_needs() {
        let head = "0 8388608 flakey 254:0 2048 0 60";
        assert_eq!(flakey(&linear(), 0, 60, true, true).unwrap(), head);
        assert_eq!(
            flakey(&linear(), 0, 60, false, true).unwrap(),
            format!("{head} 1 error_writes")
        );
        assert_eq!(
            flakey(&linear(), 0, 60, true, false).unwrap(),
            format!("{head} 1 error_reads")
        );
        assert_eq!(
            flakey(&linear(), 0, 60, false, false),
            Err(TableError::NoError)
        );
        assert_eq!(
            flakey(&linear(), 5, 0, true, true),
            Err(TableError::NeverDown)
        );
    }
}

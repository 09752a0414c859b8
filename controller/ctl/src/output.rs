//! What verbs print: tables for people, JSON for programs.

use std::{
    io::{ErrorKind, Write},
    process,
};

use serde::Serialize;
use serde_json::Value;

/// Prints a line to standard output.
///
/// A reader that has seen enough (`| head`) ends the program without a word, as it does other tools.
pub(crate) fn line(text: impl AsRef<str>) {
    if let Err(error) = writeln!(std::io::stdout(), "{}", text.as_ref()) {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(0);
        }
        eprintln!("error: cannot write to standard output: {error}");
        process::exit(1);
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(error) => eprintln!("error: cannot write JSON: {error}"),
    }
}

/// Prints a value as one line of JSON, for streams.
pub(crate) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(error) => eprintln!("error: cannot write JSON: {error}"),
    }
}

/// A JSON value for people: text without its quotes.
pub(crate) fn value(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A duration for people: two or three digits and a unit.
pub(crate) fn nanoseconds(ns: u64) -> String {
    let value = ns as f64;
    for (limit, divisor, unit) in [(1e3, 1.0, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")] {
        if value < limit {
            let value = value / divisor;
            return if divisor == 1.0 || value >= 100.0 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
    }
    format!("{:.1} s", value / 1e9)
}

/// Lays rows out in columns as wide as their widest cell; the last column is left as it is.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["1".to_owned(), "active".to_owned()],
            vec!["234".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            table(&["ID", "STATE"], &rows),
            "ID   STATE\n1    active\n234  x"
        );
    }

    #[test]
    fn a_duration_has_a_unit_that_fits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (2048, "2.0 µs"),
            (131_072, "131 µs"),
            (1_500_000, "1.5 ms"),
            (250_000_000, "250 ms"),
            (68_719_476_736, "68.7 s"),
        ] {
            assert_eq!(nanoseconds(ns), text);
        }
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(table(&["ID", "STATE"], &[]), "ID  STATE");
    }
}

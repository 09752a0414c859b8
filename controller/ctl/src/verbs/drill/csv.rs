//! Comma-separated values, as RFC 4180 has them.

/// A heading and rows, each line ended by CR and LF.
pub(super) fn csv(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let fields: Vec<String> = row.iter().map(|value| field(value)).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// In quotes where it needs them; a quote inside is written twice.
fn field(value: &str) -> String {
    if value.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_quoted() {
        let rows = [
            ["1", "plain text", ""].map(str::to_owned).to_vec(),
            ["a,b", "he said \"no\"", "two\nlines\r"]
                .map(str::to_owned)
                .to_vec(),
        ];
        assert_eq!(
            csv(&["n", "text", "more"], &rows),
            "n,text,more\r\n1,plain text,\r\n\"a,b\",\"he said \"\"no\"\"\",\"two\nlines\r\"\r\n"
        );
        assert_eq!(csv(&["a"], &[]), "a\r\n");
    }
}

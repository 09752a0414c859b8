//! A text with headings, lists and tables, as Markdown and as HTML.

use std::fmt::Write as _;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading, of this level.
    Heading(u8, String),
    /// A paragraph; empty lines make several.
    Paragraph(String),
    /// A list.
    List(Vec<String>),
    /// A list whose order matters.
    Steps(Vec<String>),
    /// A table: its head, and rows as wide as it.
    Table(Vec<String>, Vec<Vec<String>>),
    /// What somebody has to fill in.
    Blank(String),
}

/// As Markdown (CommonMark, with GitHub's tables). Words are words: what Markdown would take for marks is escaped.
#[must_use]
pub fn markdown(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        // Writing to a string cannot fail.
        let _ = match block {
            Block::Heading(level, text) => {
                let marks = "#".repeat(usize::from((*level).clamp(1, 6)));
                writeln!(out, "{marks} {}\n", inline(text))
            }
            Block::Paragraph(text) => {
                let paragraphs: Vec<String> = paragraphs(text).map(inline).collect();
                writeln!(out, "{}\n", paragraphs.join("\n\n"))
            }
            Block::List(items) => {
                for item in items {
                    let _ = writeln!(out, "- {}", inline(item));
                }
                writeln!(out)
            }
            Block::Steps(items) => {
                for (number, item) in (1..).zip(items) {
                    let _ = writeln!(out, "{number}. {}", inline(item));
                }
                writeln!(out)
            }
            Block::Table(head, rows) => {
                let row = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| inline(cell)).collect();
                    format!("| {} |", cells.join(" | "))
                };
                let rule = "|---".repeat(head.len());
                let _ = writeln!(out, "{}\n{rule}|", row(head));
                for cells in rows {
                    let _ = writeln!(out, "{}", row(cells));
                }
                writeln!(out)
            }
            Block::Blank(text) => writeln!(out, "_{}_\n", inline(text)),
        };
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// On one line, with its marks escaped.
fn inline(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::with_capacity(line.len());
    let mut in_code = false;
    for c in line.chars() {
        match c {
            // What authors mark as code stays so.
            '`' => in_code = !in_code,
            '|' => out.push('\\'),
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '#' if !in_code => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    if in_code {
        // A mark without its second one would swallow what follows.
        return out.replace('`', "\\`");
    }
    out
}

/// As a page of HTML that needs nothing else.
#[must_use]
pub fn html(title: &str, blocks: &[Block]) -> String {
    let mut body = String::new();
    for block in blocks {
        let _ = match block {
            Block::Heading(level, text) => {
                let level = (*level).clamp(1, 6);
                writeln!(body, "<h{level}>{}</h{level}>", marked(text))
            }
            Block::Paragraph(text) => {
                for text in paragraphs(text) {
                    let _ = writeln!(body, "<p>{}</p>", marked(text));
                }
                Ok(())
            }
            Block::List(items) => writeln!(body, "<ul>\n{}</ul>", list(items)),
            Block::Steps(items) => writeln!(body, "<ol>\n{}</ol>", list(items)),
            Block::Table(head, rows) => {
                let cells = |tag: &str, cells: &[String]| -> String {
                    let cells = cells
                        .iter()
                        .map(|cell| format!("<{tag}>{}</{tag}>", marked(cell)));
                    format!("<tr>{}</tr>\n", cells.collect::<String>())
                };
                let rows: String = rows.iter().map(|row| cells("td", row)).collect();
                writeln!(
                    body,
                    "<table>\n<thead>\n{}</thead>\n<tbody>\n{rows}</tbody>\n</table>",
                    cells("th", head)
                )
            }
            Block::Blank(text) => writeln!(body, "<p class=\"blank\">{}</p>", marked(text)),
        };
    }
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border-bottom: 1px solid #8886; padding: .3rem .5rem; text-align: left; vertical-align: top }}
code {{ font-family: ui-monospace, monospace; background: #8882; padding: 0 .2em }}
.blank {{ border-left: 4px solid #c90; padding-left: .7rem; font-style: italic }}
</style>
</head>
<body>
{body}</body>
</html>
"#,
        escaped(title)
    )
}

fn list(items: &[String]) -> String {
    let items = items
        .iter()
        .map(|item| format!("<li>{}</li>\n", marked(item)));
    items.collect()
}

/// Escaped; what authors mark as code is code.
fn marked(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let mut out = String::new();
    for (number, part) in parts.into_iter().enumerate() {
        if number % 2 == 0 {
            out.push_str(&escaped(part));
        } else {
            let _ = write!(out, "<code>{}</code>", escaped(part));
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(words: &str) -> String {
        words.to_owned()
    }

    #[test]
    fn a_text_is_the_same_in_both_forms() {
        let blocks = [
            Block::Heading(1, text("It was slow")),
            Block::Paragraph(text("One.\n\nTwo, with `ss -ti`.")),
            Block::List(vec![text("a"), text("b")]),
            Block::Steps(vec![text("first")]),
            Block::Table(
                vec![text("when"), text("what")],
                vec![vec![text("1"), text("x|y")]],
            ),
            Block::Blank(text("who noticed?")),
        ];
        assert_eq!(
            markdown(&blocks),
            "# It was slow\n\nOne.\n\nTwo, with `ss -ti`.\n\n- a\n- b\n\n1. first\n\n| when | what |\n|---|---|\n| 1 | x\\|y |\n\n_who noticed?_\n"
        );
        let page = html("It was slow", &blocks);
        for part in [
            "<h1>It was slow</h1>",
            "<p>One.</p>\n<p>Two, with <code>ss -ti</code>.</p>",
            "<ol>\n<li>first</li>\n</ol>",
            "<td>x|y</td>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn words_are_words() {
        let blocks = [Block::Paragraph(text(
            "<script>alert(1)</script> *not* [a](b) `open",
        ))];
        let page = html("<b>", &blocks);
        assert!(!page.contains("<script>") && page.contains("<title>&lt;b&gt;</title>"));
        let told = markdown(&blocks);
        assert_eq!(
            told,
            "\\<script\\>alert(1)\\</script\\> \\*not\\* \\[a\\](b) \\`open\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_place(words in "\\PC{0,60}") {
            let row = vec![words.clone(), words.clone()];
            let blocks = [Block::Heading(2, words.clone()), Block::Table(row.clone(), vec![row]), Block::List(vec![words.clone()])];
            let page = html(&words, &blocks);
            prop_assert_eq!(page.matches("<tr>").count(), 2);
            prop_assert_eq!(page.matches("<script").count(), 0);
            let told = markdown(&blocks);
            // A heading, an empty line, three of the table, an empty line, the list.
            prop_assert_eq!(told.trim_end().lines().count(), 7, "{}", told);
        }
    }
}

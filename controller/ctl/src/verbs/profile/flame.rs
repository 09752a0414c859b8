//! A flame graph: the width of a function is what it weighs, and what it called stands above it.
//!
//! One file without anything from elsewhere: it opens in every browser, and there it can be zoomed and searched. The picture is
//! Brendan Gregg's (<https://queue.acm.org/detail.cfm?id=2927301>).

use std::fmt::Write as _;

use observastack_spec::profile::{KERNEL_MARK, ProfileOf};

use super::tree::Frame;

/// Sizes in pixels.
const WIDTH: f64 = 1200.0;
const ROW: f64 = 18.0;
const MARGIN: f64 = 10.0;
const HEAD: f64 = 48.0;
const FOOT: f64 = 28.0;
/// A letter of the font, about.
const LETTER: f64 = 7.3;
/// What would be narrower is left out: nobody could see it.
const NARROWEST: f64 = 0.1;

/// What makes it move.
const SCRIPT: &str = include_str!("flame.js");

/// The picture. `weight` says what a value is, for people.
pub(super) fn svg(
    title: &str,
    root: &Frame,
    of: ProfileOf,
    weight: impl Fn(i64) -> String,
) -> String {
    let mut boxes = String::new();
    let all = root.total.max(1) as f64;
    let floor = HEAD + rows(root, all) as f64 * ROW;
    let mut drawing = Drawing {
        out: &mut boxes,
        all,
        floor,
        of,
        weight: &weight,
    };
    drawing.frame(root, 0.0, 0);
    let height = floor + FOOT;
    format!(
        r##"<?xml version="1.0" standalone="no"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12" data-width="{WIDTH}" data-margin="{MARGIN}" data-floor="{floor}" data-letter="{LETTER}" data-row="{ROW}">
<style>
rect.page {{ fill: #fdfdfb }}
text {{ fill: #1c1c1c }}
.f {{ cursor: pointer }}
.f:hover rect {{ stroke: #1c1c1c; stroke-width: 0.8 }}
.below {{ opacity: 0.5 }}
.found rect {{ fill: #d94fd6 }}
.act {{ cursor: pointer; fill: #2257a8 }}
</style>
<rect class="page" width="100%" height="100%"/>
<text x="{middle}" y="22" text-anchor="middle" font-size="15">{title}</text>
<text id="back" class="act" x="{MARGIN}" y="22" visibility="hidden">show all</text>
<text id="search" class="act" x="{right}" y="22" text-anchor="end">search</text>
<text id="matched" x="{right}" y="{bottom}" text-anchor="end"></text>
<text id="told" x="{MARGIN}" y="{bottom}">{total}</text>
<g id="frames">
{boxes}</g>
<script type="text/javascript"><![CDATA[
{SCRIPT}]]></script>
</svg>
"##,
        title = escaped(title),
        middle = WIDTH / 2.0,
        right = WIDTH - MARGIN,
        bottom = height - 10.0,
        total = escaped(&weight(root.total)),
    )
}

/// How many rows of it can be seen.
fn rows(frame: &Frame, all: f64) -> usize {
    let seen = frame
        .children
        .iter()
        .filter(|child| is_seen(child.total as f64 / all));
    1 + seen.map(|child| rows(child, all)).max().unwrap_or(0)
}

fn is_seen(part: f64) -> bool {
    part * (WIDTH - 2.0 * MARGIN) >= NARROWEST
}

struct Drawing<'a, W> {
    out: &'a mut String,
    all: f64,
    /// Where the lowest row stands.
    floor: f64,
    of: ProfileOf,
    weight: &'a W,
}

impl<W: Fn(i64) -> String> Drawing<'_, W> {
    /// A function, from a part of the width on, and those that it called.
    fn frame(&mut self, frame: &Frame, from: f64, row: usize) {
        let part = frame.total as f64 / self.all;
        if !is_seen(part) {
            return;
        }
        let told = format!(
            "{}: {}, {:.2} %",
            frame.name,
            (self.weight)(frame.total),
            part * 100.0
        );
        let told = escaped(&told);
        let (x, width) = (
            MARGIN + from * (WIDTH - 2.0 * MARGIN),
            part * (WIDTH - 2.0 * MARGIN),
        );
        let y = self.floor - (row as f64 + 1.0) * ROW;
        // Writing to a string cannot fail. The script uses the data, for other places than these.
        let _ = writeln!(
            self.out,
            r#"<g class="f" data-x="{from:.12}" data-w="{part:.12}" data-row="{row}" data-name="{name}"><title>{told}</title><rect fill="{colour}" rx="1" x="{x:.2}" y="{y}" width="{shown:.2}" height="{height}"/><text x="{text_x:.2}" y="{text_y}">{text}</text></g>"#,
            name = escaped(&frame.name),
            colour = colour(&frame.name, row, self.of),
            shown = (width - 0.5).max(NARROWEST),
            height = ROW - 1.0,
            text_x = x + 3.0,
            text_y = y + ROW - 5.0,
            text = escaped(&fitting(&frame.name, width)),
        );
        let mut from = from;
        for child in &frame.children {
            self.frame(child, from, row + 1);
            from += child.total as f64 / self.all;
        }
    }
}

/// As much of a name as there is room for.
fn fitting(name: &str, width: f64) -> String {
    // Negative is no room, as 0 is.
    let letters = ((width - 6.0) / LETTER) as usize;
    if letters < 3 {
        String::new()
    } else if name.chars().count() <= letters {
        name.to_owned()
    } else {
        name.chars().take(letters - 1).chain(['…']).collect()
    }
}

/// Warm for programs, orange for the kernel; blue where tasks sleep. The same function has the same colour in every picture.
fn colour(name: &str, row: usize, of: ProfileOf) -> String {
    if row == 0 {
        return "#d9d9d4".to_owned();
    }
    let hash = name.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let (one, other) = (hash % 100, hash / 100 % 100);
    let is_kernel = name.ends_with(KERNEL_MARK);
    let (hue, saturation, lightness) = match (of, is_kernel) {
        (ProfileOf::Cpu, false) => (8 + one * 44 / 100, 78, 66 + other / 10),
        (ProfileOf::Cpu, true) => (30 + one / 10, 95, 58 + other / 10),
        (ProfileOf::OffCpu, false) => (195 + one * 30 / 100, 60, 68 + other / 10),
        (ProfileOf::OffCpu, true) => (220 + one / 10, 70, 62 + other / 10),
    };
    format!("hsl({hue},{saturation}%,{lightness}%)")
}

/// As XML has it; what XML cannot have at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tests::frame, *};

    #[test]
    fn widths_are_weights_and_callees_stand_above_within_their_callers() {
        let tree = frame(
            "all",
            0,
            vec![
                frame("main", 25, vec![frame("work", 50, vec![])]),
                frame("read [k]", 25, vec![]),
                frame("too narrow to be seen", 0, vec![]),
            ],
        );
        let picture = svg("a & b", &tree, ProfileOf::Cpu, |value| format!("{value} s"));
        let place = |name: &str| {
            let line = picture
                .lines()
                .find(|line| line.contains(&format!("data-name=\"{name}\"")));
            let line = line?;
            let value = |key: &str| {
                let from = line.split_once(&format!("{key}=\""))?.1;
                from.split_once('"')?.0.parse::<f64>().ok()
            };
            Some((value("data-x")?, value("data-w")?, value("data-row")?))
        };
        assert_eq!(place("all"), Some((0.0, 1.0, 0.0)));
        assert_eq!(place("main"), Some((0.0, 0.75, 1.0)));
        assert_eq!(place("work"), Some((0.0, 0.5, 2.0)));
        assert_eq!(place("read [k]"), Some((0.75, 0.25, 1.0)));
        assert_eq!(place("too narrow to be seen"), None);
        assert!(picture.contains("work: 50 s, 50.00 %"));
        assert!(picture.contains(">a &amp; b</text>"));
    }

    #[test]
    fn a_name_is_cut_where_there_is_no_room() {
        assert_eq!(fitting("tokio::runtime", 200.0), "tokio::runtime");
        assert_eq!(fitting("tokio::runtime", 50.0), "tokio…");
        assert_eq!(fitting("tokio::runtime", 1.0), "");
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let name = "<script>alert(\"x\")</script>&\u{1}]]>";
        let tree = frame("all", 0, vec![frame(name, 1, vec![])]);
        let picture = svg("t", &tree, ProfileOf::OffCpu, |value| value.to_string());
        assert!(!picture.contains("<script>alert"), "{picture}");
        assert!(!picture.contains('\u{1}'));
        assert!(picture.contains(
            "data-name=\"&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;]]&gt;\""
        ));
    }
}

//! How it is drawn: a line about the whole, the table, and below it the selected unit's histogram and details.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize as _},
    text::Line,
    widgets::{Bar, BarChart, Block, Cell, Paragraph, Row, Table, TableState},
};

use super::{
    columns::{Column, Delta},
    state::{Drawn, State},
};
use crate::output;

/// Width of the first column.
const UNIT_WIDTH: u16 = 16;
/// Height of what is below the table.
const BELOW: u16 = 12;

/// Draws everything, and notes where it is.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let rows = u16::try_from(state.rows().len()).unwrap_or(u16::MAX);
    let [head, table, below, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows.saturating_add(1)),
        Constraint::Min(BELOW),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, state);
    draw_table(frame, table, state);
    let [histogram, details] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(below);
    state.drawn.histogram = histogram;
    if let Some(delta) = state.selected().and_then(|row| state.rows().get(row)) {
        draw_histogram(frame, histogram, state, delta);
        draw_details(frame, details, delta);
    }
    frame.render_widget(
        Line::from("↑↓ unit  ←→ sort by  r turn  Tab histogram  q end").dim(),
        keys,
    );
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = match (&state.failure, state.rows().is_empty()) {
        (Some(failure), _) => Line::from(format!("no new reading: {failure}")).red(),
        (None, true) => Line::from("the first reading comes in a moment").dim(),
        (None, false) => {
            let seconds = state.rows().first().map_or(0.0, |row| row.seconds);
            let losses = match state.losses() {
                0 => "nothing lost".to_owned(),
                lost => format!("{lost} lost: see observastack_observer_losses_total"),
            };
            Line::from(format!(
                "what the kernel saw in the last {seconds:.1} s; {losses}"
            ))
        }
    };
    frame.render_widget(line, area);
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, state: &mut State) {
    let widths: Vec<u16> = Column::ALL
        .iter()
        .map(|column| {
            let cells = state.rows().iter().map(|row| column.text(row));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            // Room for the arrow beside the title.
            let title = column.title().chars().count() + 1;
            u16::try_from(widest.max(title)).unwrap_or(u16::MAX)
        })
        .collect();
    let arrow = if state.ascending { "▲" } else { "▼" };
    let titles = Column::ALL.iter().enumerate().map(|(index, column)| {
        if index == state.sorted_by {
            Cell::from(Line::from(format!("{}{arrow}", column.title())).right_aligned()).bold()
        } else {
            Cell::from(Line::from(column.title()).right_aligned())
        }
    });
    let header = Row::new(std::iter::once(Cell::from("UNIT")).chain(titles)).underlined();
    let rows = state.rows().iter().map(|delta| {
        let cells = Column::ALL
            .iter()
            .map(|column| Cell::from(Line::from(column.text(delta)).right_aligned()));
        Row::new(std::iter::once(Cell::from(delta.name.clone())).chain(cells))
    });
    let constraints: Vec<Constraint> = std::iter::once(UNIT_WIDTH)
        .chain(widths.iter().copied())
        .map(Constraint::Length)
        .collect();
    let table = Table::new(rows, constraints.clone())
        .header(header)
        .row_highlight_style(Style::new().reversed());
    let mut shown = TableState::new().with_selected(state.selected());
    frame.render_stateful_widget(table, area, &mut shown);
    let places = Layout::horizontal(constraints)
        .spacing(1)
        .split(Rect { height: 1, ..area });
    state.drawn = Drawn {
        titles: places.iter().skip(1).copied().zip(0..).collect(),
        rows: Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        },
        offset: shown.offset(),
        histogram: Rect::default(),
    };
}

fn draw_histogram(frame: &mut Frame<'_>, area: Rect, state: &State, delta: &Delta) {
    let times = delta.times(state.histogram);
    let title = format!(
        " {}: {} ({}) ",
        delta.name,
        state.histogram.title(),
        times.count()
    );
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let filled = |(_, count): &(usize, &u64)| **count > 0;
    let first = times.buckets.iter().enumerate().find(filled);
    let last = times.buckets.iter().enumerate().rfind(filled);
    let (Some((first, _)), Some((last, _))) = (first, last) else {
        frame.render_widget(Line::from("none in this time").dim(), inside);
        return;
    };
    let bars: Vec<Bar<'_>> = times.buckets[first..=last]
        .iter()
        .zip(first..)
        .map(|(count, bucket)| {
            Bar::default()
                .value(*count)
                .text_value(count.to_string())
                .label(Line::from(format!("<{}", end_of(bucket))))
        })
        .collect();
    let width = inside.width / u16::try_from(bars.len()).unwrap_or(u16::MAX).max(1);
    let chart = BarChart::vertical(bars)
        .bar_width(width.saturating_sub(1).clamp(1, 9))
        .bar_gap(1);
    frame.render_widget(chart, inside);
}

/// Where a bucket ends, for people.
fn end_of(bucket: usize) -> String {
    output::nanoseconds(1 << (10 + bucket.min(53))).replace(' ', "")
}

fn draw_details(frame: &mut Frame<'_>, area: Rect, delta: &Delta) {
    let lines: Vec<Line<'_>> = delta.details().into_iter().map(Line::from).collect();
    let block = Block::bordered().title(format!(" {} ", delta.name));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::columns::tests::readings, *};

    fn screen(state: &mut State) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(190, 24)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        buffer
            .content()
            .chunks(190)
            .map(|cells| cells.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    #[test]
    fn units_their_figures_a_histogram_and_details_are_drawn() {
        let (first, second) = readings();
        let mut state = State::new(first);
        let lines = screen(&mut state);
        assert!(lines[0].contains("in a moment"), "{}", lines[0]);
        state.take(second);
        let lines = screen(&mut state);
        let all = lines.join("\n");
        assert!(lines[1].starts_with("UNIT"), "{all}");
        assert!(lines[1].contains("CPU%▼"), "{all}");
        assert!(lines[2].starts_with("api@1"), "{all}");
        assert!(lines[2].contains("50.0"), "{all}");
        assert!(all.contains("waits for a CPU (10)"), "{all}");
        assert!(all.contains("<2.0µs"), "{all}");
        assert!(all.contains("preempted by  gateway 10"), "{all}");
    }

    #[test]
    fn a_title_is_where_the_mouse_looks_for_it() {
        let (first, second) = readings();
        let mut state = State::new(first);
        state.take(second);
        let lines = screen(&mut state);
        for (place, column) in state.drawn.titles.clone() {
            let title: String = lines[usize::from(place.y)]
                .chars()
                .skip(usize::from(place.x))
                .take(usize::from(place.width))
                .collect();
            let expected = Column::ALL[column].title();
            assert!(title.contains(expected), "{expected} in {title:?}");
        }
    }

    #[test]
    fn a_failure_is_shown_and_the_last_reading_stays() {
        let (first, second) = readings();
        let mut state = State::new(first);
        state.take(second);
        state.fail("nobody listens".to_owned());
        let lines = screen(&mut state);
        assert!(lines[0].contains("nobody listens"), "{}", lines[0]);
        assert!(lines[2].starts_with("api@1"));
    }

    #[test]
    fn a_small_terminal_is_no_reason_to_panic() {
        let (first, second) = readings();
        let mut state = State::new(first);
        state.take(second);
        for (width, height) in [(1, 1), (10, 3), (40, 10)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &mut state)).unwrap();
        }
    }
}

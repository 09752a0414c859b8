//! What is shown: readings, the order, the selection; and what keys and the mouse do to it.

use std::cmp::Ordering;

use observastack_spec::kernel::KernelReport;
use ratatui::{
    crossterm::event::{
        Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent,
        MouseEventKind,
    },
    layout::{Position, Rect},
};

use super::columns::{Column, Delta, Histogram, deltas};

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Draw,
    End,
}

/// Where something was drawn, for the mouse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    /// Each column's title.
    pub(crate) titles: Vec<(Rect, usize)>,
    /// The rows, of which the first is at the top.
    pub(crate) rows: Rect,
    /// How many rows are scrolled away.
    pub(crate) offset: usize,
    /// The histogram.
    pub(crate) histogram: Rect,
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct State {
    last: KernelReport,
    deltas: Vec<Delta>,
    /// A column's index in [`Column::ALL`].
    pub(crate) sorted_by: usize,
    pub(crate) ascending: bool,
    selected: Option<String>,
    pub(crate) histogram: Histogram,
    /// Why there is no newer reading.
    pub(crate) failure: Option<String>,
    pub(crate) drawn: Drawn,
}

impl State {
    pub(crate) fn new(first: KernelReport) -> Self {
        Self {
            deltas: Vec::new(),
            last: first,
            sorted_by: 0,
            ascending: false,
            selected: None,
            histogram: Histogram::RunQueue,
            failure: None,
            drawn: Drawn::default(),
        }
    }

    /// A newer reading.
    pub(crate) fn take(&mut self, report: KernelReport) {
        self.deltas = deltas(&self.last, &report);
        self.last = report;
        self.failure = None;
        self.sort();
        if self.selected.is_none() {
            self.selected = self.deltas.first().map(|delta| delta.name.clone());
        }
    }

    /// No newer reading.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// The units, in order.
    pub(crate) fn rows(&self) -> &[Delta] {
        &self.deltas
    }

    /// Which of them is selected.
    pub(crate) fn selected(&self) -> Option<usize> {
        let name = self.selected.as_ref()?;
        self.deltas.iter().position(|delta| delta.name == *name)
    }

    /// What could not be kept, in all.
    pub(crate) fn losses(&self) -> u64 {
        self.last.losses.values().sum()
    }

    fn sort(&mut self) {
        let column = Column::ALL[self.sorted_by];
        let ascending = self.ascending;
        self.deltas.sort_by(|left, right| {
            // What has no value comes last either way.
            let order = match (column.value(left), column.value(right)) {
                (Some(left), Some(right)) if ascending => left.total_cmp(&right),
                (Some(left), Some(right)) => right.total_cmp(&left),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            order.then_with(|| left.name.cmp(&right.name))
        });
    }

    pub(crate) fn on_event(&mut self, event: &Event) -> After {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(*key),
            Event::Mouse(mouse) => {
                self.on_mouse(*mouse);
                After::Draw
            }
            _ => After::Draw,
        }
    }

    fn on_key(&mut self, key: KeyEvent) -> After {
        let columns = Column::ALL.len();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return After::End;
            }
            KeyCode::Char('q') | KeyCode::Esc => return After::End,
            KeyCode::Char('r') => self.ascending = !self.ascending,
            KeyCode::Left | KeyCode::Char('h') => {
                self.sorted_by = (self.sorted_by + columns - 1) % columns;
            }
            KeyCode::Right | KeyCode::Char('l') => {
                self.sorted_by = (self.sorted_by + 1) % columns;
            }
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Tab => self.next_histogram(),
            _ => {}
        }
        self.sort();
        After::Draw
    }

    fn on_mouse(&mut self, mouse: MouseEvent) {
        match mouse.kind {
            MouseEventKind::ScrollUp => self.select(-1),
            MouseEventKind::ScrollDown => self.select(1),
            MouseEventKind::Down(MouseButton::Left) => {
                self.on_click(Position::new(mouse.column, mouse.row));
            }
            _ => {}
        }
    }

    fn on_click(&mut self, at: Position) {
        let mut titles = self.drawn.titles.iter();
        if let Some((_, column)) = titles.find(|(place, _)| place.contains(at)) {
            if self.sorted_by == *column {
                self.ascending = !self.ascending;
            } else {
                self.sorted_by = *column;
            }
            self.sort();
        } else if self.drawn.rows.contains(at) {
            let row = self.drawn.offset + usize::from(at.y - self.drawn.rows.y);
            if let Some(delta) = self.deltas.get(row) {
                self.selected = Some(delta.name.clone());
            }
        } else if self.drawn.histogram.contains(at) {
            self.next_histogram();
        }
    }

    fn next_histogram(&mut self) {
        let all = Histogram::ALL;
        let now = all.iter().position(|one| *one == self.histogram);
        self.histogram = all[(now.unwrap_or(0) + 1) % all.len()];
    }

    fn select(&mut self, step: isize) {
        let last = self.deltas.len().saturating_sub(1);
        let now = self.selected().unwrap_or(0);
        let next = now.saturating_add_signed(step).min(last);
        self.selected = self.deltas.get(next).map(|delta| delta.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::columns::tests::readings, *};

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn shown() -> State {
        let (first, second) = readings();
        let mut state = State::new(first);
        state.take(second);
        state
    }

    fn names(state: &State) -> Vec<&str> {
        state.rows().iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn the_order_turns_and_what_has_no_value_stays_last() {
        let mut state = shown();
        assert_eq!(names(&state), ["api@1", "other"]);
        state.on_event(&key(KeyCode::Char('r')));
        assert_eq!(names(&state), ["api@1", "other"], "by CPU, other has none");
        state.on_event(&key(KeyCode::Left));
        state.on_event(&key(KeyCode::Left));
        state.on_event(&key(KeyCode::Left));
        assert_eq!(Column::ALL[state.sorted_by], Column::PageFaults);
        for _ in 0..5 {
            state.on_event(&key(KeyCode::Left));
        }
        assert_eq!(Column::ALL[state.sorted_by], Column::Retransmits);
        assert_eq!(names(&state), ["other", "api@1"], "the lowest first");
    }

    #[test]
    fn the_selection_stays_with_its_unit() {
        let mut state = shown();
        state.on_event(&key(KeyCode::Down));
        state.on_event(&key(KeyCode::Down));
        assert_eq!(state.selected(), Some(1));
        assert_eq!(state.rows()[1].name, "other");
        let (first, _) = readings();
        state.take(first);
        let row = state.selected().unwrap();
        assert_eq!(state.rows()[row].name, "other");
    }

    #[test]
    fn a_click_sorts_selects_and_changes_the_histogram() {
        let mut state = shown();
        state.drawn = Drawn {
            titles: vec![(Rect::new(20, 2, 8, 1), 7)],
            rows: Rect::new(0, 3, 80, 10),
            offset: 0,
            histogram: Rect::new(0, 15, 80, 5),
        };
        let click = |column, row| {
            Event::Mouse(MouseEvent {
                kind: MouseEventKind::Down(MouseButton::Left),
                column,
                row,
                modifiers: KeyModifiers::NONE,
            })
        };
        state.on_event(&click(21, 2));
        assert_eq!((state.sorted_by, state.ascending), (7, false));
        state.on_event(&click(21, 2));
        assert!(state.ascending);
        let second = state.rows()[1].name.clone();
        state.on_event(&click(5, 4));
        assert_eq!(state.selected(), Some(1));
        assert_eq!(state.rows()[1].name, second);
        state.on_event(&click(5, 9));
        assert_eq!(state.selected(), Some(1), "below the last row");
        state.on_event(&click(5, 16));
        assert_eq!(state.histogram, Histogram::Connect);
    }

    #[test]
    fn q_and_control_c_end_it() {
        let mut state = shown();
        assert_eq!(state.on_event(&key(KeyCode::Char('q'))), After::End);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.on_event(&Event::Key(control_c)), After::End);
        assert_eq!(state.on_event(&key(KeyCode::Char('c'))), After::Draw);
        assert_eq!(state.on_event(&key(KeyCode::Tab)), After::Draw);
        assert_eq!(state.histogram, Histogram::Connect);
    }
}

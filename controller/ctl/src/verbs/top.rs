//! `top`: a live view of what the kernel sees of each unit.
//!
//! | file | what it is |
//! |---|---|
//! | [`columns`] | what is told of a unit between two readings; pure |
//! | [`state`] | what is shown: readings, sorting, selection; what keys and the mouse do; pure |
//! | [`screen`] | how it is drawn |

mod columns;
mod screen;
mod state;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use hyper::Method;
use observastack_spec::kernel::KernelReport;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableMouseCapture, EnableMouseCapture, Event},
        execute,
    },
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::{
    columns::{Column, Delta},
    state::{After, State},
};
use crate::{client::Client, failure::Failure, output};

/// Events of the terminal that wait to be looked at.
const EVENTS: usize = 64;

/// Watch what the kernel sees of each unit: waits for a CPU, connections, retransmissions, drops, block I/O, memory.
///
/// Keys: arrows choose the unit and the column to sort by, r turns the order, Tab changes the histogram, q ends. The mouse works as well.
/// Where standard output is no terminal, one reading is printed.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How long between two readings.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print one reading and end.
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(3600) {
        return Err("from 100ms to 1h".to_owned());
    }
    Ok(interval)
}

/// Shows it until somebody has seen enough.
pub(crate) async fn run(top: &Top, observer: &Client, json: bool) -> Result<ExitCode, Failure> {
    // Before the terminal is taken: who cannot read it is told so in plain words.
    let first = read(observer).await?;
    if top.once || json || !io::stdout().is_terminal() {
        tokio::time::sleep(top.interval).await;
        let second = read(observer).await?;
        let deltas = columns::deltas(&first, &second);
        if json {
            output::json(&values(&deltas));
        } else {
            output::line(table(&deltas));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let terminal = ratatui::init();
    let _ = execute!(io::stdout(), EnableMouseCapture);
    let watched = watch(terminal, top.interval, observer, first).await;
    let _ = execute!(io::stdout(), DisableMouseCapture);
    ratatui::restore();
    watched?;
    Ok(ExitCode::SUCCESS)
}

async fn read(observer: &Client) -> Result<KernelReport, Failure> {
    observer.ask(Method::GET, "/v1/kernel", None::<&()>).await
}

async fn watch(
    mut terminal: DefaultTerminal,
    interval: Duration,
    observer: &Client,
    first: KernelReport,
) -> Result<(), Failure> {
    let broken = |source| Failure::Io {
        what: "the terminal".to_owned(),
        source,
    };
    let mut events = terminal_events();
    let mut state = State::new(first);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first one is at once, and there is nothing to compare with yet.
    ticks.tick().await;
    loop {
        let drawn = terminal.draw(|frame| screen::draw(frame, &mut state));
        drawn.map_err(broken)?;
        tokio::select! {
            _ = ticks.tick() => match read(observer).await {
                Ok(report) => state.take(report),
                // It may be restarting: what was read last stays, and the reason is shown.
                Err(error) => state.fail(error.to_string()),
            },
            event = events.recv() => match event {
                Some(event) => if state.on_event(&event) == After::End {
                    return Ok(());
                },
                None => return Ok(()),
            },
        }
    }
}

/// The terminal's events, read by a thread of their own, which ends with the program.
fn terminal_events() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(EVENTS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn table(deltas: &[Delta]) -> String {
    let mut header = vec!["UNIT"];
    header.extend(Column::ALL.map(Column::title));
    let rows: Vec<Vec<String>> = deltas
        .iter()
        .map(|delta| {
            let cells = Column::ALL.map(|column| column.text(delta));
            std::iter::once(delta.name.clone()).chain(cells).collect()
        })
        .collect();
    output::table(&header, &rows)
}

/// By unit and column; a column that this machine cannot tell is absent.
fn values(deltas: &[Delta]) -> Value {
    let units = deltas.iter().map(|delta| {
        let columns = Column::ALL
            .into_iter()
            .filter_map(|column| Some((column.key().to_owned(), json!(column.value(delta)?))));
        (
            delta.name.clone(),
            Value::Object(columns.collect::<Map<_, _>>()),
        )
    });
    Value::Object(units.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_makes_no_sense_is_refused() {
        assert_eq!(interval("500ms").unwrap(), Duration::from_millis(500));
        for text in ["0s", "10ms", "2h", "soon"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}

//! What happens, as server-sent events (HTML Living Standard, section 9.2): each has its run and its number as its id, so whoever comes again goes on after
//! it, and begins with the first one of another run.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use observastack_spec::drill::log::Entry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{engine::Engine, runner::Reader};

/// A comment that shows both ends that the other is there.
const STILL_HERE: Duration = Duration::from_secs(15);
/// Pieces between here and the connection; a reader that is slower is waited for, and nothing is lost.
const PIECES: usize = 8;

/// The last event that somebody has seen: of which run, and its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    run: Option<i64>,
    number: u64,
}

impl Seen {
    /// As an event's id has it (`3-17`), or a number of the run that goes on.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (run, number) = match text.split_once('-') {
            Some((run, number)) => (Some(run.parse().ok()?), number),
            None => (None, text),
        };
        let number = number.parse().ok()?;
        Some(Self { run, number })
    }
}

/// Streams what happened after an event, and what happens from now on, until the reader goes.
pub(super) fn stream(engine: Engine, reader: Reader, after: Seen) -> Response {
    let (pieces, stream) = mpsc::channel(PIECES);
    tokio::spawn(send(engine, reader, after, pieces));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

async fn send(
    engine: Engine,
    reader: Reader,
    mut seen: Seen,
    pieces: mpsc::Sender<Result<Bytes, Infallible>>,
) {
    let mut moved = engine.moved();
    loop {
        moved.borrow_and_update();
        let Ok(Ok((run, entries))) = engine.entries(seen.number, reader).await else {
            return;
        };
        if seen.run.is_some_and(|before| before != run) {
            // Another run has begun, with its own numbers: what was answered was of the wrong ones.
            seen = Seen {
                run: Some(run),
                number: 0,
            };
            continue;
        }
        seen.run = Some(run);
        seen.number = entries.last().map_or(seen.number, |entry| entry.number);
        let text: String = entries.iter().map(|entry| event(run, entry)).collect();
        if !text.is_empty() && pieces.send(Ok(text.into())).await.is_err() {
            return;
        }
        let sent = tokio::select! {
            changed = moved.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = pieces.closed() => return,
            () = tokio::time::sleep(STILL_HERE) => pieces.send(Ok(Bytes::from_static(b": still here\n\n"))).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn event(run: i64, entry: &Entry) -> String {
    // A line of text and numbers always has a JSON form.
    let data = serde_json::to_string(entry).unwrap_or_default();
    format!("id: {run}-{}\nevent: entry\ndata: {data}\n\n", entry.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_id_is_its_run_and_its_number() {
        let seen = |run, number| Some(Seen { run, number });
        assert_eq!(Seen::of("3-17"), seen(Some(3), 17));
        assert_eq!(Seen::of("17"), seen(None, 17));
        for text in ["", "x", "3-", "-", "3-x"] {
            assert_eq!(Seen::of(text), None, "{text}");
        }
    }
}

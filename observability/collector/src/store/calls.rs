//! Who calls whom, per minute: the service map, summed up as spans come in, so that asking for it reads few rows.
//!
//! A call is a client span and the server span below it, which come in different requests, in either order: the one that
//! came first waits here for the other. What waits is bounded; a server span whose caller never comes is
//! counted as called by nobody (`client` is empty).

use std::collections::{BTreeMap, HashMap, VecDeque};

use rusqlite::{Transaction, params};

use crate::model::{Batch, SpanRow};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;
const ERROR: i32 = 2;
const MINUTE_NS: i64 = 60_000_000_000;

/// Client spans, and server spans, that may wait: about 4 MiB.
const WAITING: usize = 16_384;

type SpanKey = ([u8; 16], [u8; 8]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    calls: i64,
    errors: i64,
    duration_ns: i64,
}

#[derive(Debug)]
struct Served {
    server: String,
    minute: i64,
    sum: Sum,
}

/// The sums that are not written yet, and the halves of calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    sums: BTreeMap<(i64, String, String), Sum>,
    clients: HashMap<SpanKey, String>,
    clients_in_order: VecDeque<SpanKey>,
    servers: HashMap<SpanKey, Vec<Served>>,
    servers_in_order: VecDeque<SpanKey>,
}

impl Calls {
    /// Takes a batch's spans into account.
    pub(super) fn add(&mut self, batch: &Batch) {
        if let Batch::Spans(rows) = batch {
            for row in rows {
                match row.kind {
                    CLIENT => self.client(row),
                    SERVER | CONSUMER => self.server(row),
                    _ => {}
                }
            }
        }
    }

    fn client(&mut self, row: &SpanRow) {
        let client = &row.resource.service;
        if let Some(peer) = &row.peer {
            self.count(minute(row), client.clone(), peer.clone(), sum(row));
            return;
        }
        let key = (row.trace_id, row.span_id);
        if let Some(served) = self.servers.remove(&key) {
            for Served {
                server,
                minute,
                sum,
            } in served
            {
                self.count(minute, client.clone(), server, sum);
            }
        }
        // Another server span may come: a client span that was retried below has several.
        if self.clients.insert(key, client.clone()).is_none() {
            self.clients_in_order.push_back(key);
        }
        while self.clients_in_order.len() > WAITING {
            if let Some(oldest) = self.clients_in_order.pop_front() {
                self.clients.remove(&oldest);
            }
        }
    }

    fn server(&mut self, row: &SpanRow) {
        let server = row.resource.service.clone();
        let Some(parent) = row.parent_span_id else {
            return self.count(minute(row), String::new(), server, sum(row));
        };
        let key = (row.trace_id, parent);
        if let Some(client) = self.clients.get(&key).cloned() {
            return self.count(minute(row), client, server, sum(row));
        }
        let waiting = self.servers.entry(key).or_default();
        if waiting.is_empty() {
            self.servers_in_order.push_back(key);
        }
        waiting.push(Served {
            server,
            minute: minute(row),
            sum: sum(row),
        });
        while self.servers_in_order.len() > WAITING {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        let oldest = self.servers_in_order.pop_front();
        if let Some(served) = oldest.and_then(|key| self.servers.remove(&key)) {
            for Served {
                server,
                minute,
                sum,
            } in served
            {
                self.count(minute, String::new(), server, sum);
            }
        }
    }

    /// Counts the calls of before this minute whose caller has not come.
    pub(super) fn give_up_before(&mut self, before_ns: i64) {
        let before = before_ns / MINUTE_NS;
        while let Some(key) = self.servers_in_order.front() {
            let waits = self
                .servers
                .get(key)
                .is_some_and(|served| served.iter().any(|served| served.minute >= before));
            if waits {
                return;
            }
            self.give_up_oldest();
        }
    }

    /// Counts every call whose caller has not come: the collector ends.
    pub(super) fn give_up_all(&mut self) {
        self.give_up_before(i64::MAX);
    }

    fn count(&mut self, minute: i64, client: String, server: String, sum: Sum) {
        let total = self.sums.entry((minute, client, server)).or_default();
        total.calls += sum.calls;
        total.errors += sum.errors;
        total.duration_ns = total.duration_ns.saturating_add(sum.duration_ns);
    }

    /// Writes the sums. Call [`Self::written`] after the commit.
    pub(super) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
             calls = calls + excluded.calls, errors = errors + excluded.errors,
             duration_ns = duration_ns + excluded.duration_ns",
        )?;
        for ((minute, client, server), sum) in &self.sums {
            upsert.execute(params![
                minute,
                client,
                server,
                sum.calls,
                sum.errors,
                sum.duration_ns
            ])?;
        }
        Ok(())
    }

    /// The sums are committed, or given up.
    pub(super) fn written(&mut self) {
        self.sums.clear();
    }
}

fn minute(row: &SpanRow) -> i64 {
    row.start_ns / MINUTE_NS
}

fn sum(row: &SpanRow) -> Sum {
    Sum {
        calls: 1,
        errors: i64::from(row.status == ERROR),
        duration_ns: row.duration_ns,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Resource;

    fn span(service: &str, kind: i32, id: u8, parent: Option<u8>) -> SpanRow {
        SpanRow {
            trace_id: [1; 16],
            span_id: [id; 8],
            parent_span_id: parent.map(|parent| [parent; 8]),
            resource: Arc::new(Resource {
                service: service.to_owned(),
                ..Resource::default()
            }),
            name: String::new(),
            scope: "".into(),
            kind,
            start_ns: 0,
            duration_ns: 5,
            status: ERROR,
            status_message: String::new(),
            attributes: String::new(),
            events: String::new(),
            links: String::new(),
            peer: None,
        }
    }

    fn edges(rows: Vec<SpanRow>) -> Vec<(String, String, i64)> {
        let mut calls = Calls::default();
        for row in rows {
            calls.add(&Batch::Spans(vec![row]));
        }
        calls.give_up_all();
        let edge = |((_, client, server), sum): (&(i64, String, String), &Sum)| {
            (client.clone(), server.clone(), sum.calls)
        };
        calls.sums.iter().map(edge).collect()
    }

    #[test]
    fn a_call_is_counted_once_in_whatever_order_its_spans_come() {
        let (client, server) = (
            span("gateway", CLIENT, 1, None),
            span("api", SERVER, 2, Some(1)),
        );
        let expected = vec![("gateway".to_owned(), "api".to_owned(), 1)];
        assert_eq!(edges(vec![client.clone(), server.clone()]), expected);
        assert_eq!(edges(vec![server, client]), expected);
    }

    #[test]
    fn a_server_span_without_a_caller_is_called_by_nobody() {
        assert_eq!(
            edges(vec![
                span("api", SERVER, 2, Some(1)),
                span("api", SERVER, 3, None)
            ]),
            vec![(String::new(), "api".to_owned(), 2)]
        );
    }

    #[test]
    fn a_database_is_known_from_its_callers() {
        let mut query = span("api", CLIENT, 1, None);
        query.peer = Some("postgresql".to_owned());
        assert_eq!(
            edges(vec![query]),
            vec![("api".to_owned(), "postgresql".to_owned(), 1)]
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut calls = Calls::default();
        for number in 0..3 * WAITING {
            let mut row = span(
                "api",
                if number % 2 == 0 { SERVER } else { CLIENT },
                0,
                Some(9),
            );
            row.trace_id = (number as u128 + 1).to_be_bytes();
            row.span_id = (number as u64 + 1).to_be_bytes();
            calls.add(&Batch::Spans(vec![row]));
        }
        assert!(calls.clients.len() <= WAITING && calls.servers.len() <= WAITING);
        assert!(calls.clients_in_order.len() <= WAITING && calls.servers_in_order.len() <= WAITING);
    }
}

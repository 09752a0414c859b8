//! The collector, asked as anybody may ask it: by its query API.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{http::curl, wait};

const API: &str = "http://127.0.0.1:4320/api";

/// The span that the tests' own requests are below.
pub(crate) const CALLER: &str = "00f067aa0ba902b7";

/// A trace that a request may be given.
#[derive(Clone, Debug)]
pub(crate) struct TraceId(pub(crate) String);

impl TraceId {
    /// One that there was never before.
    pub(crate) fn new() -> Result<Self> {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(Self(random.trim().replace('-', "")))
    }

    /// The header that puts a request into it, sampled.
    pub(crate) fn header(&self) -> String {
        format!("traceparent: 00-{}-{CALLER}-01", self.0)
    }

    /// Its spans, as far as they are there.
    pub(crate) fn spans(&self) -> Result<Vec<Value>> {
        let answer = curl(&[&format!("{API}/traces/{}", self.0)])?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        spans_of(&answer.expect(200)?)
    }

    /// Its spans, once each of them is below another one or below the caller, and all of `wanted` are there: a unit's short name and
    /// an operation.
    pub(crate) fn whole(&self, wanted: &[(&str, &str)]) -> Result<Vec<Value>> {
        wait::until(wait::SOON, "the whole trace is there", || {
            let spans = self.spans()?;
            is_whole(&spans)?;
            for (unit, operation) in wanted {
                ensure!(
                    spans.iter().any(|span| is(span, unit, operation)),
                    "no {operation} of {unit} in {spans:?}"
                );
            }
            Ok(Some(spans))
        })
    }

    /// Its log records.
    pub(crate) fn logs(&self) -> Result<Vec<Value>> {
        let answer = ask(&format!("logs?trace_id={}&limit=1000", self.0))?;
        Ok(answer["logs"].as_array().context("no logs")?.clone())
    }
}

/// An answer of the query API.
pub(crate) fn ask(question: &str) -> Result<Value> {
    curl(&[&format!("{API}/{question}")])?.expect(200)
}

/// The spans of a trace as the API shows it.
pub(crate) fn spans_of(trace: &Value) -> Result<Vec<Value>> {
    Ok(trace["spans"].as_array().context("no spans")?.clone())
}

/// An error that names a span whose parent is missing.
pub(crate) fn is_whole(spans: &[Value]) -> Result<()> {
    let ids: BTreeSet<&str> = spans
        .iter()
        .filter_map(|span| span["span_id"].as_str())
        .chain([CALLER])
        .collect();
    ensure!(ids.len() == spans.len() + 1, "spans share ids: {spans:?}");
    for span in spans {
        let parent = span["parent_span_id"].as_str();
        ensure!(
            parent.is_some_and(|parent| ids.contains(parent)),
            "its parent is missing: {span}"
        );
    }
    Ok(())
}

/// Whether a span is of a unit, by its short name, and has this name.
pub(crate) fn is(span: &Value, unit: &str, operation: &str) -> bool {
    let found = span["unit"].as_str().unwrap_or_default();
    let is_unit = found.starts_with(&format!("observastack-{unit}"));
    is_unit && span["operation"] == operation
}

//! From what is written to what is done; everything that is wrong has its place in the file.

mod arrivals;
mod steps;
mod variables;

use std::{sync::Arc, time::Duration};

use http::Uri;
use serde_saphyr::{Location, Spanned};

use super::{
    ShapeError,
    form::{Form, Text},
};
use crate::{
    engine::Arrival,
    target,
    threshold::Threshold,
    workload::{Journey, Workload},
};
use steps::Compiler;

/// A load as a whole.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Where to, unless somebody says otherwise.
    pub target: Uri,
    /// What clients do.
    pub workload: Arc<Workload>,
    /// When they begin.
    pub arrival: Arrival,
    /// Connections at once.
    pub connections: Option<u32>,
    /// What has to hold afterwards.
    pub thresholds: Vec<Threshold>,
}

impl Shape {
    /// The same, going on with its last rate, or its users, until so long has passed; one that takes longer stays as it is.
    #[must_use]
    pub fn lasting(mut self, length: Duration) -> Self {
        match &mut self.arrival {
            Arrival::Open { profile, .. } => profile.hold_until(length),
            Arrival::Closed { length: usual, .. } => *usual = length.max(*usual),
        }
        self
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        if let Some(seed) = seed {
            Arc::make_mut(&mut self.workload).seed = seed;
        }
        self
    }
}

fn error(at: Location, reason: impl Into<String>) -> ShapeError {
    ShapeError {
        line: at.line(),
        column: at.column(),
        reason: reason.into(),
    }
}

fn at<T>(spanned: &Spanned<T>, reason: impl std::fmt::Display) -> ShapeError {
    error(spanned.referenced, reason.to_string())
}

pub(super) fn compile(form: Form) -> Result<Shape, ShapeError> {
    let target = target(form.target.as_ref())?;
    let arrival = arrivals::arrival(&form)?;
    let (variables, mut names) = variables::variables(&form.variables)?;
    // Every journey has a place for every value, so that names mean the same everywhere.
    for step in form
        .journeys
        .value
        .iter()
        .flat_map(|journey| &journey.steps.value)
    {
        for (name, extract) in &step.value.extract {
            if form.variables.contains_key(name) {
                return Err(at(extract, format!("`{name}` is a variable already")));
            }
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    let compiler = Compiler {
        target: &target,
        names: &names,
        form: &form,
    };
    let journeys: Vec<Journey> = form
        .journeys
        .value
        .iter()
        .map(|journey| compiler.journey(journey))
        .collect::<Result<_, _>>()?;
    if journeys.iter().all(|journey| journey.weight == 0.0) {
        return Err(at(
            &form.journeys,
            "there is no journey that has a weight: nothing would be sent",
        ));
    }
    let thresholds = form
        .thresholds
        .iter()
        .map(|text| Threshold::parse(&text.value).map_err(|error| at(text, error)))
        .collect::<Result<_, _>>()?;
    let connections = match &form.connections {
        Some(most) if !(1..=100_000).contains(&most.value) => {
            return Err(at(most, "connections: allowed are 1 to 100000"));
        }
        most => most.as_ref().map(|most| most.value),
    };
    let mut workload = Workload::new(journeys, variables, names.len(), form.seed);
    workload.traced = form.traced.0;
    Ok(Shape {
        name: form.name,
        description: form.description,
        target,
        workload: Arc::new(workload),
        arrival,
        connections,
        thresholds,
    })
}

fn target(text: Option<&Text>) -> Result<Uri, ShapeError> {
    match text {
        Some(text) => {
            target::parse(&text.value).map_err(|reason| at(text, format!("target: {reason}")))
        }
        None => Ok(Uri::from_static(target::SHOP)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shape::parse;

    const WHOLE: &str = r#"
name: everything
description: every field once
target: http://127.0.0.1:9000
seed: 7
arrivals:
  stages: ["50..200 for 10s", "200 for 10s"]
  spacing: poisson
connections: 32
keep_alive: true
timeout: 2s
traced: 10%
drill: slow-database
headers: {accept: application/json}
variables:
  sku: {between: [1, 500], prefix: P, digits: 5, skew: 2}
  colour: {pick: [red, green]}
  key: {uuid: true}
  n: {number: true}
journeys:
  - name: order
    weight: 2
    retry: {attempts: 3, wait: 100ms, factor: 2, longest: 1s, jitter: true, status: [503]}
    steps:
      - post: /orders
        name: place
        json: {customer_id: "${n:json}", lines: [{sku: "${sku}", quantity: 1}]}
        status: [201]
        check: {contains: id, json: {/state: paid}}
        extract: {order: {json: /id}, place: {header: location}}
        pause: 50ms
      - get: ${place}
        timeout: 1s
  - name: slow
    keep_alive: false
    steps:
      - raw: "GET / HTTP/1.1\r\n\r\n"
        slowly: {bytes: 4, every: 10ms}
        abandon: 1s
thresholds: ["p99<250ms", "errors<1%"]
"#;

    #[test]
    fn every_field_is_understood() {
        let shape = parse(WHOLE).unwrap();
        assert_eq!(shape.target.to_string(), "http://127.0.0.1:9000/");
        assert_eq!((shape.thresholds.len(), shape.connections), (2, Some(32)));
        let workload = &shape.workload;
        assert_eq!((workload.endpoints(), workload.traced), (3, 0.1));
        let order = &workload.journeys[0];
        assert_eq!(order.steps[0].retry.attempts, 3);
        assert_eq!(order.steps[0].timeout, Duration::from_secs(2));
        assert_eq!(order.steps[1].timeout, Duration::from_secs(1));
        assert_eq!(order.steps[1].name, "GET ${place}");
        let mut chance = workload.chance(4);
        let values = workload.values(4, &mut chance);
        let mut bytes = Vec::new();
        order.steps[0].template.fill(&values, None, &mut bytes);
        let sent = String::from_utf8(bytes).unwrap();
        assert!(
            sent.contains("observastack-drill: slow-database\r\n"),
            "{sent}"
        );
        assert!(
            sent.contains("content-type: application/json\r\n"),
            "{sent}"
        );
        assert!(sent.contains("\"customer_id\":4,"), "{sent}");
        assert!(sent.contains("\"sku\":\"P00"), "{sent}");
        assert!(!workload.journeys[1].steps[0].keep_alive);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (right, wrong, line, reason) in [
            ("50..200 for 10s", "fast for 10s", 7, "`fast` is no rate"),
            ("spacing: poisson", "spacing: odd", 8, "poisson"),
            ("seed: 7", "sed: 7", 5, "sed"),
            ("connections: 32", "connections: 0", 9, "1 to 100000"),
            ("timeout: 2s", "timeout: soon", 11, "`soon` is no time"),
            ("traced: 10%", "traced: 110%", 12, "between 0 and 1"),
            ("http://127.0.0.1:9000", "https://shop", 4, "no TLS"),
            (
                "sku: {between: [1, 500]",
                "sku: {between: [9, 5]",
                16,
                "9 is more than 5",
            ),
            ("pick: [red, green]", "pick: []", 17, "one value at least"),
            ("key: {uuid: true}", "key: {}", 18, "one of"),
            ("weight: 2", "weight: -2", 22, "weight"),
            ("attempts: 3", "attempts: 1000", 23, "0 to 100"),
            ("factor: 2", "factor: 0.5", 23, "1 to 100"),
            ("post: /orders", "post: orders", 25, "is no path"),
            ("${sku}", "${skv}", 27, "there is no variable `skv`"),
            ("status: [201]", "status: [2010]", 28, "100 to 599"),
            ("header: location", "body: location", 30, "body"),
            (
                "order: {json: /id}",
                "sku: {json: /id}",
                30,
                "variable already",
            ),
            ("bytes: 4", "bytes: 0", 38, "may be 0"),
            ("p99<250ms", "p99<fast", 40, "is no time"),
            ("weight: 2", "weight: [", 22, ""),
        ] {
            assert!(WHOLE.contains(right), "{right}");
            let error = parse(&WHOLE.replacen(right, wrong, 1)).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(reason), "{wrong}: {said}");
            assert!(
                error.line == line || reason.is_empty(),
                "{wrong} is in line {line}: {said}"
            );
            assert!(error.line > 0 && error.column > 0, "{said}");
        }
        for (text, reason) in [
            ("", "journeys"),
            ("journeys: []", "is needed"),
            ("users: {count: 1, for: 1s}\njourneys: []", "no journey"),
            ("arrivals: {}\njourneys: []", "nothing would be sent"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }

    #[test]
    fn a_variable_alone_in_a_json_text_can_be_a_value() {
        assert_eq!(
            steps::unquoted(r#"{"a":"${n:json}","b":"${n}","c":["${m:json}"]}"#),
            r#"{"a":${n},"b":"${n}","c":[${m}]}"#
        );
    }
}

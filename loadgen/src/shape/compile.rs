//! From what is written to what is done; everything that is wrong has its place in the file.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, Method, Uri};
use serde_saphyr::{Location, Spanned};

use super::{
    ShapeError,
    form::{self, Form, Text},
};
use crate::{
    engine::Arrival,
    http::{Request, Template},
    schedule::{self, Profile, Spacing},
    target,
    threshold::Threshold,
    workload::{
        Check, Extract, Generator, Journey, Retry, Slowly, Source, Step, Variable, Workload,
    },
};

/// The header that says which drill a request belongs to.
const DRILL: &str = "observastack-drill";

const TIMEOUT: Duration = Duration::from_secs(10);
/// Repetitions of one request; more is no client any more.
const MOST_ATTEMPTS: u32 = 100;

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
    let arrival = arrival(&form)?;
    let (variables, mut names) = variables(&form.variables)?;
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

fn arrival(form: &Form) -> Result<Arrival, ShapeError> {
    match (&form.arrivals, &form.users) {
        (Some(arrivals), None) => open(arrivals, form.seed),
        (None, Some(users)) => {
            let form::Users {
                count,
                think,
                r#for,
            } = &users.value;
            if !(1..=100_000).contains(&count.value) {
                return Err(at(count, "users: allowed are 1 to 100000"));
            }
            if r#for.0.is_zero() {
                return Err(at(users, "for: nothing would be sent in no time"));
            }
            Ok(Arrival::Closed {
                users: count.value as usize,
                think: think.map_or(Duration::ZERO, |time| time.0),
                length: r#for.0,
            })
        }
        (Some(_), Some(users)) => Err(at(
            users,
            "either `arrivals` (an open loop) or `users` (a closed one), not both",
        )),
        (None, None) => Err(ShapeError {
            line: 0,
            column: 0,
            reason: "`arrivals` (an open loop) or `users` (a closed one) is needed".to_owned(),
        }),
    }
}

fn open(arrivals: &Spanned<form::Arrivals>, seed: u64) -> Result<Arrival, ShapeError> {
    let mut segments = Vec::new();
    for stage in &arrivals.value.stages {
        segments.extend(schedule::parse(&stage.value).map_err(|error| at(stage, error))?);
    }
    if let Some(replay) = &arrivals.value.replay {
        segments.extend(schedule::replay(&replay.value).map_err(|error| at(replay, error))?);
    }
    let profile = Profile::new(segments);
    if profile.arrivals() < 1.0 {
        return Err(at(
            arrivals,
            "nothing would be sent: give `stages`, such as `200 for 1m`, or `replay` with lines of `at_s,rate`",
        ));
    }
    Ok(Arrival::Open {
        profile,
        spacing: match arrivals.value.spacing {
            form::Spacing::Even => Spacing::Even,
            form::Spacing::Poisson => Spacing::Poisson,
        },
        seed,
    })
}

fn variables(
    given: &BTreeMap<String, Spanned<form::Variable>>,
) -> Result<(Vec<Variable>, Vec<String>), ShapeError> {
    let mut variables = Vec::new();
    let mut names = Vec::new();
    for (name, variable) in given {
        variables.push(Variable {
            name: name.clone(),
            generator: generator(variable)?,
        });
        names.push(name.clone());
    }
    Ok((variables, names))
}

fn generator(given: &Spanned<form::Variable>) -> Result<Generator, ShapeError> {
    let form::Variable {
        pick,
        between,
        prefix,
        digits,
        skew,
        number,
        uuid,
    } = &given.value;
    let is_plain = prefix.is_none() && digits.is_none() && skew.is_none();
    match (pick, between, number, uuid) {
        (Some(values), None, false, false) if is_plain => {
            if values.is_empty() {
                return Err(at(given, "pick: one value at least is needed"));
            }
            Ok(Generator::Pick(values.clone()))
        }
        (None, Some([low, high]), false, false) => {
            if low > high {
                return Err(at(given, format!("between: {low} is more than {high}")));
            }
            let skew = skew.unwrap_or(1.0);
            if !(0.01..=100.0).contains(&skew) {
                return Err(at(given, "skew: allowed are 0.01 to 100; 1 is even"));
            }
            let digits = digits.unwrap_or(0);
            if digits > 20 {
                return Err(at(given, "digits: allowed are 0 to 20"));
            }
            Ok(Generator::Between {
                low: *low,
                high: *high,
                prefix: prefix.clone().unwrap_or_default(),
                digits,
                skew,
            })
        }
        (None, None, true, false) if is_plain => Ok(Generator::Number),
        (None, None, false, true) if is_plain => Ok(Generator::Uuid),
        _ => Err(at(
            given,
            "one of: `pick: [a, b]`, `between: [1, 500]` (with `prefix`, `digits`, `skew`), `number: true`, `uuid: true`",
        )),
    }
}

struct Compiler<'a> {
    target: &'a Uri,
    names: &'a [String],
    form: &'a Form,
}

impl Compiler<'_> {
    fn journey(&self, journey: &form::Journey) -> Result<Journey, ShapeError> {
        let weight = match &journey.weight {
            Some(weight) if !(0.0..=1e9).contains(&weight.value) => {
                return Err(at(weight, "weight: allowed are 0 to 1000000000"));
            }
            weight => weight.as_ref().map_or(1.0, |weight| weight.value),
        };
        if journey.steps.value.is_empty() {
            return Err(at(&journey.steps, "steps: one at least is needed"));
        }
        Ok(Journey {
            name: journey.name.value.clone(),
            weight,
            steps: journey
                .steps
                .value
                .iter()
                .map(|step| self.step(journey, step))
                .collect::<Result<_, _>>()?,
        })
    }

    fn step(
        &self,
        journey: &form::Journey,
        given: &Spanned<form::Step>,
    ) -> Result<Step, ShapeError> {
        let keep_alive = journey.keep_alive.unwrap_or(self.form.keep_alive);
        let step = &given.value;
        let (default_name, template) = self.template(given, keep_alive)?;
        let slowly = match &step.slowly {
            Some(slowly) if slowly.value.bytes == 0 || slowly.value.every.0.is_zero() => {
                return Err(at(slowly, "slowly: neither `bytes` nor `every` may be 0"));
            }
            slowly => slowly.as_ref().map(|slowly| Slowly {
                bytes: slowly.value.bytes,
                every: slowly.value.every.0,
            }),
        };
        for status in &step.status {
            if !(100..=599).contains(&status.value) {
                return Err(at(status, "status: allowed are 100 to 599"));
            }
        }
        let timeout = step
            .timeout
            .or(self.form.timeout)
            .map_or(TIMEOUT, |time| time.0);
        if timeout.is_zero() {
            return Err(at(given, "timeout: nothing is answered in no time"));
        }
        Ok(Step {
            name: step.name.clone().unwrap_or(default_name),
            template,
            keep_alive,
            statuses: step.status.iter().map(|status| status.value).collect(),
            checks: checks(step.check.as_ref()),
            extract: self.extract(&step.extract)?,
            timeout,
            retry: retry(step.retry.as_ref().or(journey.retry.as_ref()))?,
            pause: step.pause.map_or(Duration::ZERO, |time| time.0),
            slowly,
            abandon: step.abandon.map(|time| time.0),
        })
    }

    /// What is sent, and how it is called where nobody says.
    fn template(
        &self,
        given: &Spanned<form::Step>,
        keep_alive: bool,
    ) -> Result<(String, Template), ShapeError> {
        let step = &given.value;
        let methods = [
            (&step.get, Method::GET),
            (&step.head, Method::HEAD),
            (&step.post, Method::POST),
            (&step.put, Method::PUT),
            (&step.patch, Method::PATCH),
            (&step.delete, Method::DELETE),
        ];
        let mut requests = methods
            .iter()
            .filter_map(|(path, method)| Some((path.as_ref()?, method)));
        let (path, method) = match (requests.next(), requests.next(), &step.raw) {
            (Some(request), None, None) => request,
            (None, None, Some(raw)) => {
                let has_more =
                    step.body.is_some() || step.json.is_some() || !step.headers.is_empty();
                if has_more {
                    return Err(at(
                        raw,
                        "raw: these are all the bytes; no `body`, `json` or `headers`",
                    ));
                }
                return Ok(("raw".to_owned(), Template::raw(raw.value.as_bytes())));
            }
            _ => {
                return Err(at(
                    given,
                    "a step has one of: `get: PATH`, `head`, `post`, `put`, `patch`, `delete`, `raw: BYTES`",
                ));
            }
        };
        let is_path = path.value.starts_with('/') || path.value.starts_with("${");
        if !is_path || path.value.contains([' ', '\r', '\n', '#']) {
            return Err(at(
                path,
                format!("`{}` is no path, such as /products/${{sku}}", path.value),
            ));
        }
        let mut headers = Vec::new();
        if let Some(drill) = &self.form.drill {
            headers.push(header(DRILL, drill)?);
        }
        for (name, value) in self.form.headers.iter().chain(&step.headers) {
            let header = header(name, value)?;
            // The step's own holds.
            headers.retain(|(known, _)| *known != header.0);
            headers.push(header);
        }
        let (body, from) = match (&step.body, &step.json) {
            (Some(body), None) => (body.value.clone(), body.referenced),
            (None, Some(json)) => {
                let has_type = headers.iter().any(|(name, _)| name == "content-type");
                if !has_type {
                    let json = "application/json".to_owned();
                    headers.push((HeaderName::from_static("content-type"), json));
                }
                (unquoted(&json.value.to_string()), json.referenced)
            }
            (None, None) => (String::new(), path.referenced),
            (Some(body), Some(_)) => return Err(at(body, "either `body` or `json`")),
        };
        let request = Request {
            method,
            target: self.target,
            path: &path.value,
            headers: &headers,
            body: &body,
            keep_alive,
        };
        let template = Template::new(&request, self.names).map_err(|wrong| {
            // The body is the last that is looked at.
            let is_in_body = Template::new(
                &Request {
                    body: "",
                    ..request.clone()
                },
                self.names,
            )
            .is_ok();
            error(
                if is_in_body { from } else { path.referenced },
                wrong.to_string(),
            )
        })?;
        Ok((format!("{method} {}", path.value), template))
    }

    fn extract(
        &self,
        given: &BTreeMap<String, Spanned<form::Extract>>,
    ) -> Result<Vec<Extract>, ShapeError> {
        let one = |(name, extract): (&String, &Spanned<form::Extract>)| {
            let source = match (&extract.value.json, &extract.value.header) {
                (Some(pointer), None) if pointer.is_empty() || pointer.starts_with('/') => {
                    Source::Json(pointer.clone())
                }
                (None, Some(header)) => Source::Header(header.clone()),
                _ => {
                    return Err(at(
                        extract,
                        "one of: `json: /a/pointer` (RFC 6901), `header: location`",
                    ));
                }
            };
            let place = self.names.iter().position(|known| known == name);
            Ok(Extract {
                place: place.unwrap_or(usize::MAX),
                source,
            })
        };
        given.iter().map(one).collect()
    }
}

/// A variable that is all of a JSON text is a value: `"${count:json}"` becomes `${count}`.
fn unquoted(json: &str) -> String {
    let mut text = json.to_owned();
    while let Some(end) = text.find(":json}\"") {
        let Some(begin) = text.get(..end).and_then(|before| before.rfind("\"${")) else {
            break;
        };
        let name = text.get(begin + 3..end).unwrap_or_default().to_owned();
        text.replace_range(begin..end + ":json}\"".len(), &format!("${{{name}}}"));
    }
    text
}

fn header(name: &str, value: &Text) -> Result<(HeaderName, String), ShapeError> {
    let parsed = name.parse::<HeaderName>();
    match parsed {
        Ok(name) if Request::is_header_value(&value.value) => Ok((name, value.value.clone())),
        Ok(_) => Err(at(
            value,
            format!("headers: the value of `{name}` has characters that no header may have"),
        )),
        Err(_) => Err(at(
            value,
            format!("headers: `{name}` is no name of a header"),
        )),
    }
}

fn checks(given: Option<&form::Check>) -> Vec<Check> {
    let Some(given) = given else {
        return Vec::new();
    };
    let contains = given.contains.iter().cloned().map(Check::Contains);
    let json = given.json.iter().map(|(pointer, value)| Check::Json {
        pointer: pointer.clone(),
        value: value.clone(),
    });
    contains.chain(json).collect()
}

fn retry(given: Option<&form::Retry>) -> Result<Retry, ShapeError> {
    let default = Retry::default();
    let Some(given) = given else {
        return Ok(default);
    };
    if given.attempts.value > MOST_ATTEMPTS {
        return Err(at(
            &given.attempts,
            format!("attempts: allowed are 0 to {MOST_ATTEMPTS}"),
        ));
    }
    let factor = match &given.factor {
        Some(factor) if !(1.0..=100.0).contains(&factor.value) => {
            return Err(at(factor, "factor: allowed are 1 to 100"));
        }
        factor => factor.as_ref().map_or(1.0, |factor| factor.value),
    };
    Ok(Retry {
        attempts: given.attempts.value,
        wait: given.wait.map_or(Duration::ZERO, |time| time.0),
        factor,
        longest: given.longest.map_or(default.longest, |time| time.0),
        jitter: given.jitter,
        statuses: given.status.clone().unwrap_or(default.statuses),
    })
}

#[cfg(test)]
mod tests {
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
            unquoted(r#"{"a":"${n:json}","b":"${n}","c":["${m:json}"]}"#),
            r#"{"a":${n},"b":"${n}","c":[${m}]}"#
        );
    }
}

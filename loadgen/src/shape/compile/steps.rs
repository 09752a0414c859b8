//! What clients do.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue, Method, Uri};
use serde_saphyr::Spanned;

use super::{
    super::{
        ShapeError,
        form::{self, Form, Text},
    },
    at, error,
};
use crate::{
    http::{Request, Template},
    workload::{Check, Extract, Journey, Retry, Slowly, Source, Step},
};

/// The header that says which drill a request belongs to.
const DRILL: &str = "observastack-drill";

const TIMEOUT: Duration = Duration::from_secs(10);
/// Repetitions of one request; more is no client any more.
const MOST_ATTEMPTS: u32 = 100;

/// What all steps have in common.
pub(super) struct Compiler<'a> {
    pub(super) target: &'a Uri,
    pub(super) names: &'a [String],
    pub(super) form: &'a Form,
}

impl Compiler<'_> {
    pub(super) fn journey(&self, journey: &form::Journey) -> Result<Journey, ShapeError> {
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
pub(super) fn unquoted(json: &str) -> String {
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
        Ok(name) if HeaderValue::from_str(&value.value).is_ok() => Ok((name, value.value.clone())),
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

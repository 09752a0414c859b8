//! From a JSON document to a typed configuration, with every error found on the way.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::merge::{merge_patch, removed_paths};
use super::{FieldError, ServiceConfig, allowed};

/// Errors listed for one document; more would help nobody.
const MAX_ERRORS: usize = 32;

/// Characters of a refused value that are shown.
const MAX_SHOWN: usize = 120;

/// How the document as a whole is called in errors.
const WHOLE: &str = "(document)";

/// How the list of known fields begins in the error about an unknown one.
pub(super) const UNKNOWN_FIELD: &str = "no field of this name; known: ";

/// Reads and validates a configuration.
///
/// # Errors
/// Every field that is unknown, of the wrong type, or refused by the configuration's own validation.
pub(super) fn parse<C: ServiceConfig>(document: &Value) -> Result<C, Vec<FieldError>> {
    // serde would take an array for a struct, too.
    if !document.is_object() {
        return Err(vec![FieldError::new(
            WHOLE,
            shown(Some(document)),
            "a JSON object with the configuration's fields",
        )]);
    }
    let mut document = document.clone();
    let mut errors: Vec<FieldError> = Vec::new();
    // serde stops at the first error: take the culprit out and go on, so that one answer tells all.
    while errors.len() < MAX_ERRORS {
        let culprit = match read::<C>(&document) {
            Ok(config) => match list_for_object(&document, &to_value(&config), Vec::new()) {
                None => {
                    let refused = config.validate().err().unwrap_or_default();
                    // A field taken out has its default now: what validation says of it is not about the document.
                    let new: Vec<_> = refused
                        .into_iter()
                        .filter(|error| !reported(&errors, &error.field))
                        .collect();
                    errors.extend(new);
                    return if errors.is_empty() {
                        Ok(config)
                    } else {
                        Err(errors)
                    };
                }
                Some(path) => (
                    path,
                    "invalid type: sequence, expected an object".to_owned(),
                ),
            },
            Err((path, error)) => (path, error.allowed),
        };
        let (path, said) = culprit;
        errors.push(refused::<C>(&document, &path, said));
        if !remove(&mut document, &path) {
            break;
        }
    }
    Err(errors)
}

/// The error about the value at `path`, of which the type has `said` something.
fn refused<C: ServiceConfig>(document: &Value, path: &[String], said: String) -> FieldError {
    let allowed = if allowed::of_serde(&said) && !said.starts_with("missing field ") {
        allowed::at::<C>(document, path).unwrap_or(said)
    } else {
        said
    };
    let value = match lookup(document, path) {
        // As the operator wrote it; but text that reads as a number or as nothing at all needs its quotes.
        Some(Value::String(text))
            if !text.trim().is_empty() && serde_json::from_str::<Value>(text).is_err() =>
        {
            shorten(text.clone())
        }
        value => shown(value),
    };
    FieldError::new(dotted(path), value, allowed)
}

/// The path of a list that serde has taken for an object, its elements for the fields in their order.
fn list_for_object(given: &Value, read: &Value, path: Vec<String>) -> Option<Vec<String>> {
    let below = |name: String| [path.as_slice(), &[name]].concat();
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(path),
        (Value::Array(given), Value::Array(read)) => {
            given
                .iter()
                .zip(read)
                .enumerate()
                .find_map(|(index, (given, read))| {
                    list_for_object(given, read, below(index.to_string()))
                })
        }
        (Value::Object(given), Value::Object(read)) => given
            .iter()
            .find_map(|(name, given)| list_for_object(given, read.get(name)?, below(name.clone()))),
        _ => None,
    }
}

/// Applies a merge patch to a configuration: a `null` gives the field the value it has in `base`.
///
/// # Errors
/// As [`parse`], and for a `null` for a field that does not exist.
pub(super) fn patched<C: ServiceConfig>(
    current: &C,
    patch: &Value,
    base: &C,
) -> Result<C, Vec<FieldError>> {
    if !patch.is_object() {
        return Err(vec![FieldError::new(
            WHOLE,
            shown(Some(patch)),
            "a JSON object with the fields to change",
        )]);
    }
    let base = to_value(base);
    let mut document = to_value(current);
    let before = document.clone();
    merge_patch(&mut document, patch);
    for path in removed_paths(patch) {
        if let Some(default) = lookup(&base, &path) {
            insert(&mut document, &path, default.clone());
        } else if lookup(&before, &path).is_none() {
            // Known nowhere: let the type itself say whether there is such a field.
            insert(&mut document, &path, Value::Null);
        }
    }
    parse(&document)
}

/// A configuration as JSON.
pub(super) fn to_value<C: ServiceConfig>(config: &C) -> Value {
    // Fails for maps with keys that are no strings only: then every comparison below sees an empty document.
    serde_json::to_value(config).unwrap_or_else(|_| Value::Object(Map::new()))
}

/// The value at a dotted path.
pub(super) fn at<'a>(document: &'a Value, dotted: &str) -> Option<&'a Value> {
    dotted
        .split('.')
        .try_fold(document, |value, name| value.get(name))
}

/// The dotted paths at which two documents differ, objects followed to their members.
pub(super) fn differences(left: &Value, right: &Value) -> Vec<String> {
    fn walk(
        left: Option<&Value>,
        right: Option<&Value>,
        path: &mut Vec<String>,
        found: &mut Vec<String>,
    ) {
        match (left, right) {
            (Some(Value::Object(left)), Some(Value::Object(right))) => {
                let names: std::collections::BTreeSet<&String> =
                    left.keys().chain(right.keys()).collect();
                for name in names {
                    path.push(name.clone());
                    walk(left.get(name), right.get(name), path, found);
                    path.pop();
                }
            }
            (left, right) if left != right => found.push(path.join(".")),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(Some(left), Some(right), &mut Vec::new(), &mut found);
    found
}

/// Reads any type from JSON.
///
/// # Errors
/// The first field that is unknown or of the wrong type, with its path taken apart.
pub(crate) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, (Vec<String>, FieldError)> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let (path, allowed) = explain(&error);
        let refused = FieldError::new(dotted(&path), shown(lookup(document, &path)), allowed);
        (path, refused)
    })
}

/// The path of the culprit and what would be allowed there.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> (Vec<String>, String) {
    let mut path: Vec<String> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect();
    let message = error.inner().to_string();
    // {"name": 1} for a variant that is a bare name: the whole of it is wrong, not what is in it.
    if message.ends_with("expected unit")
        && matches!(error.path().iter().next_back(), Some(Segment::Enum { .. }))
    {
        path.pop();
    }
    let Some((name, expected)) = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    else {
        return (path, message);
    };
    if path.last().is_none_or(|last| last != name) {
        path.push(name.to_owned());
    }
    let expected = expected
        .trim_start_matches(", ")
        .trim_start_matches("expected ");
    (
        path,
        format!("{UNKNOWN_FIELD}{}", expected.replace('`', "")),
    )
}

fn reported(errors: &[FieldError], field: &str) -> bool {
    errors.iter().any(|error| error.field == field)
}

fn dotted(path: &[String]) -> String {
    if path.is_empty() {
        WHOLE.to_owned()
    } else {
        path.join(".")
    }
}

fn shown(value: Option<&Value>) -> String {
    shorten(value.map_or_else(|| "nothing".to_owned(), Value::to_string))
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text,
        Some((end, _)) => {
            let mut short = text[..end].to_owned();
            let _ = write!(short, "... ({} bytes)", text.len());
            short
        }
    }
}

fn lookup<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

fn lookup_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, name| match value {
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        other => other.get_mut(name),
    })
}

/// Takes the member at `path` out; `false` when there is none to take (the whole document, an element of an array).
fn remove(document: &mut Value, path: &[String]) -> bool {
    // The deepest object on the way: an array without one element would be another value altogether.
    for depth in (1..=path.len()).rev() {
        let (parent, name) = (&path[..depth - 1], &path[depth - 1]);
        if let Some(Value::Object(members)) = lookup_mut(document, parent) {
            return members.remove(name).is_some();
        }
    }
    false
}

fn insert(document: &mut Value, path: &[String], value: Value) {
    let Some((name, parents)) = path.split_last() else {
        return;
    };
    let mut place = document;
    for parent in parents {
        let Value::Object(members) = place else {
            return;
        };
        place = members
            .entry(parent.clone())
            .or_insert_with(|| Value::Object(Map::new()));
    }
    if let Value::Object(members) = place {
        members.insert(name.clone(), value);
    }
}

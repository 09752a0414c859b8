//! What is allowed at a place whose value has the wrong type, in the words that validation has for it.
//!
//! serde knows the type there, validation knows the range, and neither knows the other. So values of other kinds are
//! tried at that place, alone in an otherwise empty document: the first one that the type takes tells the kind, the
//! first one that validation refuses tells the range.

use serde_json::{Value, json};

use super::ServiceConfig;
use super::document::{self, UNKNOWN_FIELD};

/// One step of a path, from the document down.
#[derive(Clone)]
enum Step {
    Member(String),
    Element,
}

/// Ends of the integer types, ascending: the first one that the type does not take tells which type it is.
const WHOLE_NUMBERS: [u64; 9] = [
    0,
    i8::MAX as u64,
    u8::MAX as u64,
    i16::MAX as u64,
    u16::MAX as u64,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];

/// What is allowed at `path` of `document`; `None` when no value that is tried says so.
pub(super) fn at<C: ServiceConfig>(document: &Value, path: &[String]) -> Option<String> {
    let mut steps = Vec::with_capacity(path.len());
    let mut place = Some(document);
    for name in path {
        let element = place.is_some_and(Value::is_array);
        place = place.and_then(|value| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        });
        steps.push(if element {
            Step::Element
        } else {
            Step::Member(name.clone())
        });
    }
    kind::<C>(&steps, place.unwrap_or(&Value::Null))
}

fn kind<C: ServiceConfig>(steps: &[Step], given: &Value) -> Option<String> {
    number::<C>(steps, given)
        .or_else(|| taken::<C>(steps, json!(false)).map(|_| "true or false".to_owned()))
        .or_else(|| text::<C>(steps))
        .or_else(|| object::<C>(steps))
        .or_else(|| list::<C>(steps))
}

fn number<C: ServiceConfig>(steps: &[Step], given: &Value) -> Option<String> {
    let kind = if taken::<C>(steps, json!(0.5)).is_some() {
        "a number"
    } else {
        "a whole number"
    };
    let mut greatest = None;
    for candidate in WHOLE_NUMBERS {
        match taken::<C>(steps, json!(candidate)) {
            // 1.5 is in the range "1 to 100", and "50" looks as if it were.
            Some(Some(range)) if given.is_i64() || given.is_u64() => return Some(range),
            Some(Some(range)) => return Some(format!("{kind}, {range}")),
            Some(None) => greatest = Some(candidate),
            None => {}
        }
    }
    let greatest = greatest?;
    let bounded = kind == "a whole number" && taken::<C>(steps, json!(-1)).is_none();
    Some(if bounded {
        format!("{kind}, 0 to {greatest}")
    } else {
        kind.to_owned()
    })
}

fn text<C: ServiceConfig>(steps: &[Step]) -> Option<String> {
    match probe::<C>(steps, json!("")) {
        Ok(said) => Some(said.unwrap_or_else(|| "text".to_owned())),
        Err(message) => variants(&message).or_else(|| (!of_serde(&message)).then_some(message)),
    }
}

fn object<C: ServiceConfig>(steps: &[Step]) -> Option<String> {
    // Without a name no field has: the type lists those it has.
    if let Err(message) = probe::<C>(steps, json!({"": null}))
        && let Some(known) = message.strip_prefix(UNKNOWN_FIELD)
    {
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return Some(format!(
            "an object with the fields {}",
            known.replace(" or ", ", ")
        ));
    }
    taken::<C>(steps, json!({})).map(|said| said.unwrap_or_else(|| "an object".to_owned()))
}

fn list<C: ServiceConfig>(steps: &[Step]) -> Option<String> {
    if let Some(said) = taken::<C>(steps, json!([]))? {
        return Some(said);
    }
    let mut element = steps.to_vec();
    element.push(Step::Element);
    let of = kind::<C>(&element, &Value::Null);
    Some(of.map_or_else(|| "a list".to_owned(), |of| format!("a list, each {of}")))
}

/// `Some` when the type takes the value; within, what validation says is allowed when it refuses it.
fn taken<C: ServiceConfig>(steps: &[Step], value: Value) -> Option<Option<String>> {
    probe::<C>(steps, value).ok()
}

fn probe<C: ServiceConfig>(steps: &[Step], value: Value) -> Result<Option<String>, String> {
    let document = steps.iter().rev().fold(value, |inner, step| match step {
        Step::Member(name) => json!({ name.as_str(): inner }),
        Step::Element => json!([inner]),
    });
    let path: Vec<&str> = steps
        .iter()
        .map(|step| match step {
            Step::Member(name) => name.as_str(),
            Step::Element => "0",
        })
        .collect();
    let field = path.join(".");
    let config: C = document::read(&document).map_err(|(_, error)| error.allowed)?;
    let refused = config.validate().err().unwrap_or_default();
    Ok(refused
        .into_iter()
        .find(|error| error.field == field)
        .map(|error| error.allowed))
}

/// The names in serde's message about an enum's variant.
fn variants(message: &str) -> Option<String> {
    let (_, names) = message
        .strip_prefix("unknown variant `")?
        .rsplit_once("`, expected ")?;
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    Some(format!("one of {}", names.join(", ")))
}

/// Whether a message is serde's own, about a type, and not one that a type's own reader has written for people.
pub(super) fn of_serde(message: &str) -> bool {
    [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant ",
        "missing field ",
    ]
    .iter()
    .any(|start| message.starts_with(start))
}

//! From an entry's fields to a request.

use std::time::Duration;

use super::{FileError, Position};
use crate::{
    FieldError, duration,
    fault::{Fault, FaultRequest},
    named::{Refusal, Text},
    probability, unit,
};

/// Fields that every fault's entry can have; all others are the fault's own.
const COMMON: &[&str] = &[
    "unit",
    "fault",
    "for",
    "probability",
    "every",
    "after",
    "max",
    "seed",
    "verbose",
];

/// One fault of the file, as it is written there.
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) fields: Vec<Field>,
}

/// One field of an entry.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) value: Text,
}

impl Field {
    /// Fields are spelled as flags (`syn-only`) or as in JSON (`syn_only`).
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.replace('-', "_") == name.replace('-', "_")
    }
}

impl Entry {
    /// The request, or everything that is wrong.
    pub(super) fn read(&self) -> Result<FaultRequest, Vec<FileError>> {
        let mut refusals = Vec::new();
        let fault = self.fault(&mut refusals);
        let unit = self.needed::<String>("unit", &mut refusals);
        let held = self.needed::<String>("for", &mut refusals);
        let held = held.and_then(|text| keep(duration::parse_fault_duration(&text), &mut refusals));
        let share = self.optional::<String>("probability", &mut refusals);
        let share = share.and_then(|text| keep(probability::parse(&text), &mut refusals));
        let every = self.optional("every", &mut refusals);
        let after = self.optional("after", &mut refusals);
        let max = self.optional("max", &mut refusals);
        let seed = self.optional("seed", &mut refusals);
        let verbose = self.optional("verbose", &mut refusals);
        // Values that could not be read are at their defaults here: what was said about them is enough.
        let for_checks = |fault| FaultRequest {
            probability: share.unwrap_or(1.0),
            every: every.unwrap_or(1),
            after: after.unwrap_or(0),
            max,
            seed,
            verbose: verbose.unwrap_or(false),
            ..FaultRequest::new(
                unit.clone().unwrap_or_else(|| "unknown".to_owned()),
                fault,
                held.unwrap_or(Duration::from_secs(1)),
            )
        };
        let request = fault.map(for_checks);
        match (request.clone().map(|request| request.validate(0)), &unit) {
            (Some(Err(wrong)), _) => refusals.extend(wrong.into_iter().map(of_field_error)),
            (Some(Ok(_)), _) | (None, None) => {}
            (None, Some(unit)) => {
                keep(unit::parse(unit), &mut refusals);
            }
        }
        match request {
            Some(request) if refusals.is_empty() => Ok(request),
            _ => {
                let mut errors: Vec<_> = refusals.iter().map(|wrong| self.place(wrong)).collect();
                errors.sort_by_key(|error| (error.line, error.column));
                Err(errors)
            }
        }
    }

    /// The fault's own parameters. A field that is refused is left out and the rest read again, so that the others'
    /// errors are found too.
    fn fault(&self, refusals: &mut Vec<Refusal>) -> Option<Fault> {
        let kind = self.needed::<String>("fault", refusals)?;
        let mut own: Vec<(String, Text)> = self
            .fields
            .iter()
            .filter(|field| !COMMON.contains(&field.name.as_str()))
            .map(|field| (field.name.replace('-', "_"), field.value.clone()))
            .collect();
        loop {
            let refusal = match Fault::from_fields(&kind, own.clone()) {
                Ok(fault) => return Some(fault),
                Err(refusal) => refusal,
            };
            let before = own.len();
            own.retain(|(name, _)| Some(name) != refusal.field.as_ref());
            let was_named = |known: &Refusal| known.field == refusal.field;
            // A needed field that was refused is missing in the next round.
            if !refusals.iter().any(was_named) {
                refusals.push(refusal);
            }
            if own.len() == before {
                return None;
            }
        }
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.is_named(name))
    }

    fn optional<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        refusals: &mut Vec<Refusal>,
    ) -> Option<T> {
        let value = self.field(name)?.value.clone();
        let read = T::deserialize(value);
        read.map_err(|error| refusals.push(Refusal::of_field(name, error.reason)))
            .ok()
    }

    fn needed<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        refusals: &mut Vec<Refusal>,
    ) -> Option<T> {
        if self.field(name).is_none() {
            refusals.push(serde::de::Error::missing_field(name));
        }
        self.optional(name, refusals)
    }

    /// A refusal with the place of its field, or of the entry where it has none there.
    fn place(&self, refusal: &Refusal) -> FileError {
        let name = refusal.field.as_deref().unwrap_or_default();
        let position = self
            .field(name)
            .map_or(self.position, |field| field.position);
        position.error(refusal.to_string())
    }
}

fn keep<T>(read: Result<T, FieldError>, refusals: &mut Vec<Refusal>) -> Option<T> {
    read.map_err(|error| refusals.push(of_field_error(error)))
        .ok()
}

fn of_field_error(error: FieldError) -> Refusal {
    let reason = format!("`{}` is not allowed; use {}", error.value, error.allowed);
    Refusal::of_field(&error.field, reason)
}

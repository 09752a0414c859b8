//! Values that a journey begins with.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::{
    super::{ShapeError, form},
    at,
};
use crate::workload::Generator;

/// And their names, in the same order.
pub(super) fn variables(
    given: &BTreeMap<String, Spanned<form::Variable>>,
) -> Result<(Vec<Generator>, Vec<String>), ShapeError> {
    let mut variables = Vec::new();
    let mut names = Vec::new();
    for (name, variable) in given {
        variables.push(generator(variable)?);
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

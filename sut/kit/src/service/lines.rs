//! Order lines as every service of the shop takes them: names of items, and how many of each.

use std::collections::BTreeSet;

use super::ServiceError;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// What [`is_name`] allows, for people.
pub const NAME: &str = "1 to 64 letters, digits, - and _";

/// Whether a text may be a SKU, a category or a key.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Checks lines of (SKU, quantity): 1 to `max_lines` of them, each SKU once, each quantity 1 to `max_quantity`.
///
/// # Errors
/// The first field that is not allowed, as `lines`, `lines.N.sku` or `lines.N.quantity`.
pub fn check_lines<'a>(
    lines: impl ExactSizeIterator<Item = (&'a str, i32)>,
    max_lines: usize,
    max_quantity: i32,
) -> Result<(), ServiceError> {
    if !(1..=max_lines).contains(&lines.len()) {
        return Err(ServiceError::invalid(
            "lines",
            format!("{} lines", lines.len()),
            format!("1 to {max_lines} lines"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, (sku, quantity)) in lines.enumerate() {
        if !is_name(sku) {
            return Err(ServiceError::invalid(
                format!("lines.{index}.sku"),
                format!("{sku:?}"),
                NAME,
            ));
        }
        if !seen.insert(sku) {
            return Err(ServiceError::invalid(
                format!("lines.{index}.sku"),
                sku,
                "each SKU once",
            ));
        }
        if !(1..=max_quantity).contains(&quantity) {
            return Err(ServiceError::invalid(
                format!("lines.{index}.quantity"),
                quantity,
                format!("1 to {max_quantity}"),
            ));
        }
    }
    Ok(())
}

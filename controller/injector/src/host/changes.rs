//! One change per file; each says what it needs and how it is undone.

mod clsact;
mod dm_table;
mod fd_limit;
mod fill;
mod fq;
mod freeze;
mod property;
mod unit_stopped;

pub use clsact::Clsact;
pub use dm_table::DmTable;
pub use fd_limit::{FdLimit, Limited};
pub use fill::Fill;
pub use fq::Fq;
pub use freeze::Freeze;
pub use property::Property;
pub use unit_stopped::UnitStopped;

use super::change::ChangeError;

/// Refuses names that a program could take for an option, or the kernel for a path.
fn check_name(field: &'static str, name: &str, longest: usize) -> Result<(), ChangeError> {
    let is_plain = !name.is_empty()
        && name.len() <= longest
        && !name.starts_with(['-', '.'])
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    if is_plain {
        Ok(())
    } else {
        Err(ChangeError::refused(
            field,
            name,
            format!(
                "a plain name of 1 to {longest} characters, without `/` and spaces, that does not begin with `-` or `.`"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_options_or_paths_are_refused_by_field() {
        for name in ["", "-x", "../a", "a b", "a/b", "0123456789abcdef"] {
            let error = check_name("dev", name, 15).unwrap_err().to_string();
            assert!(
                error.contains("dev") && error.contains("1 to 15"),
                "{error}"
            );
        }
        check_name("dev", "lo", 15).unwrap();
    }
}

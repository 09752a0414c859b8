//! What the shop's own services say to their clients: errors with a code, JSON bodies within a limit, amounts of money.

mod body;
mod error;
mod lines;
mod money;

pub use body::read_json;
pub use error::{ServiceError, render_error};
pub use lines::{NAME, check_lines, is_name};
pub use money::Money;

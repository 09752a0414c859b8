//! What the shop's own services say to their clients: errors with a code, and JSON bodies within a limit.

mod body;
mod error;
mod lines;

pub use body::read_json;
pub use error::{ServiceError, render_error};
pub use lines::{NAME, check_lines, is_name};

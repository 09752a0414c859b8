//! HTTP/1.1 from a client's side, without I/O: a request as bytes, an answer as it arrives.

mod response;
mod template;

pub use response::{Kept, Parser, Progress, ResponseError};
pub use template::{Names, Request, Template, TemplateError, literal};

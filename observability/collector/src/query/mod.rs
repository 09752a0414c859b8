//! What the panel and the command line ask: JSON over HTTP, described by `openapi.json`.

mod answer;
mod params;
mod routes;
mod tail;

pub use params::{ParamError, Params};
pub(crate) use routes::TAILS;
pub use routes::{OPENAPI, ROUTES, Route, State, routes};

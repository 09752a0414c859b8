//! An HTTP/1.1 server for services: routes by template, limits, metrics, and a drain that loses no request.

mod connection;
mod listener;
mod request;
mod response;
mod router;
mod server;

pub use listener::{BindError, Listener, bind};
pub use request::{MAX_BODY_BYTES, Request};
pub use response::{Body, HttpError, Response, json};
pub use router::Router;
pub use server::{Drained, Options, Server};

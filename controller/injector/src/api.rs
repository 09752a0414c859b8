//! JSON over HTTP on the Unix socket.

mod peer;
mod response;
mod routes;
mod server;
mod stream;

pub(crate) use peer::Peer;
pub(crate) use response::Failure;
pub(crate) use server::{Context, STREAMS, serve};

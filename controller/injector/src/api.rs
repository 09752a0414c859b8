//! JSON over HTTP on the Unix socket.

mod peer;
mod response;
mod routes;
mod server;
mod stream;

pub(crate) use server::{Context, serve};

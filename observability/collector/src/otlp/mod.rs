//! OTLP, over HTTP and gRPC: the rim decodes and answers, [`Receiver`] decides.

mod body;
pub mod grpc;
pub mod http;
mod memory;
mod receiver;
mod status;

pub(crate) use body::read as read_body;
pub use body::{BodyError, inflate};
pub use memory::{Memory, Share};
pub use receiver::{Outcome, Receiver};
pub use status::Status;

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body, unpacked.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read or decoded.
    pub all_bodies_bytes: usize,
    /// How long a request's body may take to come.
    pub body_time: std::time::Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            all_bodies_bytes: 24 << 20,
            body_time: std::time::Duration::from_secs(10),
        }
    }
}

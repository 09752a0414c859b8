//! Who asked: passed along with every call made for a request. Its trace goes along by itself.

use observastack_kit::http::Request;

/// What a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// The gateway's id of the request; empty without one.
    pub request_id: String,
}

impl RequestContext {
    /// From the request's headers.
    pub fn of(request: &Request) -> Self {
        RequestContext {
            request_id: request.request_id().to_owned(),
        }
    }
}

//! The way of a request through the gateway, one file for each phase, in this order:
//!
//! 1. [`admit`]: identity, the gateway's own health page, limits;
//! 2. [`select`]: an upstream and the time it is given (again for each retry);
//! 3. [`forward`]: the request's head and body on their way to the upstream;
//! 4. [`answer`]: the upstream's answer on its way back, or another attempt because of its status;
//! 5. [`failed`]: an attempt that broke: another one, or an error for the client;
//! 6. [`finish`]: metrics and the access log.
//!
//! Phases never call each other: pingora calls them through [`crate::proxy`], and what they tell each other is in the
//! request's [`crate::context::RequestContext`].

pub mod admit;
pub mod answer;
pub mod failed;
pub mod finish;
pub mod forward;
pub mod select;

//! Faults as users describe them, and the injector's API: pure types and validation, no I/O.
//!
//! - [`fault`]: [`fault::FaultRequest`] is what a user sends; validated, it is a [`fault::FaultSpec`].
//! - [`unit`]: names of units, and which of them are never a target.
//! - [`errno`], [`probability`], [`duration`]: values as users write them.
//! - [`api`]: what the injector's socket answers.
#![forbid(unsafe_code)]

pub mod api;
pub mod duration;
pub mod errno;
pub mod fault;
mod field;
pub mod probability;
pub mod unit;

pub use field::FieldError;

//! Faults as users describe them, and the injector's API: pure types and validation, no I/O.
//!
//! - [`fault`]: [`fault::FaultRequest`] is what a user sends; validated, it is a [`fault::FaultSpec`].
//! - [`faults`]: one file per fault with its own parameters.
//! - [`file`]: a set of faults in a YAML file.
//! - [`unit`]: names of units, and which of them are never a target.
//! - values as users write them: [`Errno`], [`Cidr`], [`Rate`] and the others here; [`probability`], [`duration`].
//! - [`api`]: what the injector's socket answers; [`kernel`], [`profile`]: what the observer's does.
//!
//! # Faults on one unit compose
//!
//! They act in this order, whatever the order of injection ([`order::composition_order`]):
//!
//! 1. `unit`, then resource limits (`cpu-quota`, `memory-limit`, `tasks-limit`, `fd-limit`), load and the data volume
//!    (`cpu-stress`, `disk-delay`, `disk-error`, `disk-fill`), then `freeze`, then `reset`;
//! 2. system calls: `connect-error`, `bind-error`, `syscall-error`, `signal`;
//! 3. packets out: `latency` and `bandwidth` set the time of departure at the cgroup; then, at the interface's egress,
//!    `packet-loss` and `blackhole`, then `mtu-blackhole`, then `slow-receiver`;
//! 4. packets in: `packet-loss` and `blackhole`, then `mtu-blackhole`.
//!
//! Rules of one kind act in the order of their injection.
#![forbid(unsafe_code)]

pub mod api;
pub mod drill;
pub mod duration;
pub mod fault;
pub mod faults;
mod field;
pub mod file;
pub mod kernel;
mod named;
pub mod order;
pub mod probability;
pub mod profile;
pub mod scenario;
pub mod unit;
mod values;

pub use fault::Fault;
pub use field::{FieldError, ValueError};
pub use values::{
    Burst, Bytes, Call, Cidr, Direction, Distribution, Errno, FileKind, FileSystem, HumanDuration,
    Percent, Protocol, Rate, Signal, SocketFamily, SyscallName, UnitAction,
};

//! `observastack-observer`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    observastack_observer::main()
}

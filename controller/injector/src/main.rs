//! The program; what it does is in the library, so that the kernel tests can use its parts.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    observastack_injector::main()
}

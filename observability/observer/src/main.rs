//! `observastack-observer`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    observastack_observer::main()
}

//! `shapes`: those of the library.

use std::process::ExitCode;

use observastack_loadgen::shape::{self, SHAPES};

/// List the shapes of the library, or print one of them as a beginning for your own.
#[derive(Debug, clap::Args)]
pub(crate) struct Shapes {
    /// The one to be printed
    name: Option<String>,
}

pub(crate) fn main(shapes: &Shapes) -> ExitCode {
    let Some(name) = &shapes.name else {
        for shape in SHAPES {
            let parsed = shape::parse(shape.text);
            let description = parsed.ok().and_then(|shape| shape.description);
            println!("{:<22}{}", shape.name, description.unwrap_or_default());
        }
        return ExitCode::SUCCESS;
    };
    match shape::named(name) {
        Some(shape) => {
            print!("{}", shape.text);
            ExitCode::SUCCESS
        }
        None => {
            let known: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
            super::usage(&format!(
                "there is no shape `{name}`; known: {}",
                known.join(", ")
            ))
        }
    }
}

//! Figures that tests measure, printed when all tests have ended: a line in between would tear the list of tests.

use std::sync::{Mutex, PoisonError};

static MEASURED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a figure for the end.
pub(crate) fn note(figure: String) {
    MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(figure);
}

/// Prints all figures in the order in which they were measured.
pub(crate) fn print() {
    let measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    if !measured.is_empty() {
        println!("figures:");
    }
    for figure in measured.iter() {
        println!("    {figure}");
    }
}

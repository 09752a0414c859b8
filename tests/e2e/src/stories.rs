//! The tests, in the order in which they run: first the lab as it is, then what breaks it.

mod cli;
mod config;
mod connect_error;
mod disk_full;
mod drain;
mod footprint;
mod hardening;
mod life;
mod life_unit;
mod packet_loss;
mod recovery;
mod refusals;
mod refusals_permission;
mod refusals_start;
mod shop;

use libtest_mimic::Trial;

/// Every test.
pub(crate) fn all() -> Vec<Trial> {
    [
        footprint::tests(),
        shop::tests(),
        cli::tests(),
        hardening::tests(),
        config::tests(),
        disk_full::tests(),
        drain::tests(),
        recovery::tests(),
        packet_loss::tests(),
        connect_error::tests(),
        life::tests(),
        life_unit::tests(),
        refusals::tests(),
        refusals_permission::tests(),
        refusals_start::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

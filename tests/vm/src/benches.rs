//! Measurements that need a guest: `cargo xtask bench faults latency`. No tests: they print tables, and fail where there is nothing to
//! measure.

mod latency;

use libtest_mimic::{Failed, Trial};

use crate::scene::Lab;

/// Every measurement.
pub(crate) fn all(lab: &Lab) -> Vec<Trial> {
    let lab = lab.clone();
    vec![Trial::test("bench::latency_beside_netem", move || {
        lab.run(latency::beside_netem)
            .map_err(|error| Failed::from(format!("{error:#}")))
    })]
}

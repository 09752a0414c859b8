//! The tests, one file per story.

mod capabilities;
mod connect_error;
mod decisions;
mod limits;
mod packet_loss;
mod tcp_loss;
mod time;
mod units;

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

use crate::scene::{Lab, Scene};

/// A test: its name says the behaviour.
type Case = (&'static str, fn(&mut Scene) -> Result<()>);

/// Every test, in the order of running: what the others stand on comes first.
pub(crate) fn all(lab: &Lab) -> Vec<Trial> {
    let stories: [(&str, &[Case]); 8] = [
        ("capabilities", capabilities::CASES),
        ("packet_loss", packet_loss::CASES),
        ("tcp_loss", tcp_loss::CASES),
        ("connect_error", connect_error::CASES),
        ("units", units::CASES),
        ("time", time::CASES),
        ("decisions", decisions::CASES),
        ("limits", limits::CASES),
    ];
    let mut trials = Vec::new();
    for (story, cases) in stories {
        for (name, test) in cases {
            let (lab, test) = (lab.clone(), *test);
            trials.push(Trial::test(format!("{story}::{name}"), move || {
                lab.run(test)
                    .map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    trials
}

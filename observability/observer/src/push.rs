//! Profiles on their way to the collector, or to a Pyroscope server.

use std::{io::Write as _, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use hyper::Uri;
use observastack_spec::profile::ProfileReport;
use observastack_telemetry::{
    metrics::Registry,
    pprof::{CONTENT_TYPE, LabelPair, PUSH_PATH, PushRequest, RawProfileSeries, RawSample},
    profiles,
};
use prometheus_client::metrics::{counter::Counter, family::Family as Counters};
use prost::Message as _;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::{
    post::{Sender, post, sender},
    pprof,
};

/// How long the other side has.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Profiles that are on their way at once.
const UNDER_WAY: usize = 4;

/// Pushes by what became of them.
type Pushes = Counters<[(&'static str, &'static str); 1], Counter>;

/// What pushes profiles; does nothing where there is no address. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pusher {
    sender: Sender,
    target: Option<Uri>,
    pushes: Pushes,
    places: Arc<Semaphore>,
}

impl Pusher {
    /// As the environment says (`PYROSCOPE_SERVER_ADDRESS`).
    ///
    /// # Errors
    /// The environment is malformed.
    pub(crate) fn from_environment(registry: &mut Registry) -> anyhow::Result<Self> {
        let target = match profiles::server()? {
            Some(server) => Some(format!("{}{PUSH_PATH}", server.trim_end_matches('/')).parse()?),
            None => None,
        };
        let pushes = Pushes::default();
        registry.register(
            "observastack_observer_profile_pushes",
            "Profiles that were pushed, by what became of them",
            pushes.clone(),
        );
        Ok(Self {
            sender: sender(),
            target,
            pushes,
            places: Arc::new(Semaphore::new(UNDER_WAY)),
        })
    }

    /// Pushes one in the background; whoever has asked for it has it already.
    pub(crate) fn push(&self, report: &ProfileReport) {
        let Some(target) = self.target.clone() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.count("dropped");
            return;
        };
        let (pusher, body) = (self.clone(), request(report).encode_to_vec());
        tokio::spawn(async move {
            match post(&pusher.sender, &target, CONTENT_TYPE, body, TIMEOUT).await {
                Ok(()) => {
                    debug!(%target, "a profile was pushed");
                    pusher.count("sent");
                }
                Err(reason) => {
                    warn!(%target, reason, "a profile was not taken");
                    pusher.count("failed");
                }
            }
            drop(place);
        });
    }

    fn count(&self, outcome: &'static str) {
        self.pushes.get_or_create(&[("outcome", outcome)]).inc();
    }
}

/// One profile, with the labels that a service's own have.
fn request(report: &ProfileReport) -> PushRequest {
    let service = report.unit.strip_suffix(".service");
    let label = |name: &str, value: &str| LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    PushRequest {
        series: vec![RawProfileSeries {
            labels: vec![
                label("__name__", report.of.kind()),
                label("service_name", service.unwrap_or(&report.unit)),
                label("systemd_unit", &report.unit),
            ],
            samples: vec![RawSample {
                raw_profile: packed(&pprof::of(report).encode_to_vec()),
                id: String::new(),
            }],
        }],
    }
}

/// Compressed; as it is where that fails, which readers know from the first bytes.
fn packed(plain: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packer.write_all(plain).and_then(|()| packer.finish());
    packed.unwrap_or_else(|_| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_services_of_another_kind_than_its_own() {
        let report = ProfileReport {
            unit: "observastack-api@1.service".to_owned(),
            ..ProfileReport::default()
        };
        let series = request(&report).series.remove(0);
        let labels: Vec<(&str, &str)> = series
            .labels
            .iter()
            .map(|label| (&*label.name, &*label.value))
            .collect();
        assert_eq!(labels[0], ("__name__", "kernel_cpu"));
        assert_eq!(labels[1], ("service_name", "observastack-api@1"));
        assert_eq!(series.samples[0].raw_profile[..2], [0x1f, 0x8b]);
    }
}

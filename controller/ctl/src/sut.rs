//! The services under test as the command line sees them: their units and admin sockets.

use std::path::{Path, PathBuf};

use observastack_spec::unit;

use crate::{client::Client, failure::Failure};

/// A service with a configuration of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// The unit's full name.
    pub(crate) unit: String,
    /// Its name in the run-time and state directories: `api-1` for `observastack-api@1.service`.
    pub(crate) directory: String,
}

impl Service {
    /// The service behind a unit's name; `None` where it has no configuration of this kind.
    pub(crate) fn of(full_unit: &str) -> Option<Self> {
        let stem = full_unit
            .strip_suffix(".service")?
            .strip_prefix("observastack-")?;
        let (base, instance) = stem
            .split_once('@')
            .map_or((stem, None), |(base, instance)| (base, Some(instance)));
        let directory = match (base, instance) {
            ("gateway" | "inventory" | "worker", None) => base.to_owned(),
            ("api", Some(instance)) if !instance.is_empty() => format!("api-{instance}"),
            _ => return None,
        };
        Some(Self {
            unit: full_unit.to_owned(),
            directory,
        })
    }

    /// The service that a user names, with or without `observastack-` and `.service`.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        let prefixed = if name.starts_with("observastack-") {
            name.to_owned()
        } else {
            format!("observastack-{name}")
        };
        let full = unit::parse(&prefixed).map_err(|error| Failure::Invalid(vec![error]))?;
        Self::of(&full).ok_or_else(|| {
            Failure::Usage(format!("unit: `{name}` has no configuration; use gateway, inventory, worker or api@N, such as api@1"))
        })
    }

    /// The service's admin socket.
    pub(crate) fn client(&self, runtime_directory: &Path) -> Client {
        Client::admin(
            runtime_directory.join(&self.directory).join("admin.sock"),
            &self.unit,
        )
    }

    /// The file in which the service keeps its configuration.
    pub(crate) fn state_file(&self) -> PathBuf {
        Path::new("/var/lib/observastack")
            .join(&self.directory)
            .join("config.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_full_names_are_the_same_service() {
        for name in ["api@1", "observastack-api@1", "observastack-api@1.service"] {
            let service = Service::named(name).unwrap();
            assert_eq!(
                (service.unit.as_str(), service.directory.as_str()),
                ("observastack-api@1.service", "api-1")
            );
        }
        for name in ["gateway", "inventory", "worker"] {
            assert_eq!(Service::named(name).unwrap().directory, name);
        }
    }

    #[test]
    fn what_has_no_configuration_is_refused() {
        for name in [
            "postgresql",
            "api",
            "nginx",
            "injector",
            "gateway@1",
            "../x",
        ] {
            assert!(Service::named(name).is_err(), "{name}");
        }
    }
}

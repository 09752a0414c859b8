//! The administrator's configuration: which slices may be broken.

use std::{fs, io, path::Path};

use observastack_spec::{FieldError, unit};
use serde::Deserialize;

/// What the administrator may choose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Slices whose units are targets.
    pub(crate) target_slices: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target_slices: vec![unit::SUT_SLICE.to_owned()],
        }
    }
}

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: String, source: io::Error },
    #[error(
        "{path} is not a valid configuration: {source}; fix the file, or remove it to use the defaults"
    )]
    Malformed {
        path: String,
        source: serde_json::Error,
    },
    #[error("{path}: {source}")]
    Invalid { path: String, source: FieldError },
}

impl Config {
    /// Reads and checks the file; a missing one gives the defaults.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = || path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(ConfigError::Unreadable {
                    path: name(),
                    source,
                });
            }
        };
        let config: Self =
            serde_json::from_str(&text).map_err(|source| ConfigError::Malformed {
                path: name(),
                source,
            })?;
        config.check().map_err(|source| ConfigError::Invalid {
            path: name(),
            source,
        })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), FieldError> {
        if self.target_slices.is_empty() || self.target_slices.len() > 16 {
            return Err(FieldError::new(
                "target_slices",
                self.target_slices.len(),
                "1 to 16 slices",
            ));
        }
        self.target_slices
            .iter()
            .try_for_each(|slice| unit::check_target_slice(slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("injector.json");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_missing_file_and_an_empty_object_are_the_defaults() {
        assert_eq!(
            Config::read(Path::new("/nonexistent/injector.json")).unwrap(),
            Config::default()
        );
        assert_eq!(read("{}").unwrap(), Config::default());
    }

    #[test]
    fn a_corrupt_file_is_named_with_the_place_and_the_cure() {
        let error = read("{\"target_slices\": [").unwrap_err().to_string();
        assert!(
            error.contains("injector.json")
                && error.contains("line 1")
                && error.contains("remove it"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_field_is_named() {
        assert!(
            read(r#"{"slices": []}"#)
                .unwrap_err()
                .to_string()
                .contains("slices")
        );
    }

    #[test]
    fn slices_that_keep_the_machine_working_are_refused() {
        for slice in ["system.slice", "observastack-control.slice", "-.slice"] {
            let error = read(&format!(r#"{{"target_slices": ["{slice}"]}}"#))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("target_slices") && error.contains(slice),
                "{error}"
            );
        }
        assert!(
            read(r#"{"target_slices": []}"#)
                .unwrap_err()
                .to_string()
                .contains("1 to 16")
        );
    }
}

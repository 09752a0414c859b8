//! The one holder of a service's configuration: reads without a lock, changes one after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use observastack_telemetry::logs;
use observastack_telemetry::metrics::Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use tokio::sync::watch;

use super::file::{self, Disk, FileSystem, MAX_VERSION, StateFile};
use super::{ConfigError, ServiceConfig, Source, Versioned, document};

/// A change to a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A whole document; fields it leaves out get their built-in defaults.
    Replace(Value),
    /// A JSON merge patch (RFC 7396); `null` gives a field back its value from the site file or the defaults.
    Patch(Value),
    /// Back to the site file or the defaults.
    Reset,
    /// What the files say now. Only a difference makes a new version.
    Reload,
}

/// The versions a change is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever is in effect.
    #[default]
    Any,
    /// One of these; else the change is refused, because somebody else was faster.
    Versions(Vec<u64>),
}

/// The configuration of a service, shared by everything in the process. Cheap to clone.
pub struct ConfigStore<C>(Arc<Inner<C>>);

impl<C> Clone for ConfigStore<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> std::fmt::Debug for ConfigStore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigStore").finish_non_exhaustive()
    }
}

struct Inner<C> {
    current: ArcSwap<Versioned<C>>,
    started: Arc<Versioned<C>>,
    changes: watch::Sender<Arc<Versioned<C>>>,
    /// Locked by blocking threads only, for as long as a change takes: that makes changes one after the other.
    files: Mutex<Files<C>>,
    metrics: Metrics,
}

struct Files<C> {
    state: StateFile,
    site_path: Option<PathBuf>,
    /// What applies without a state file.
    base: Base<C>,
}

#[derive(Clone)]
struct Base<C> {
    config: C,
    source: Source,
}

impl<C: ServiceConfig> ConfigStore<C> {
    /// Opens the state directory (made if need be) and reads the configuration. Needs no runtime.
    ///
    /// # Errors
    /// A file that cannot be read, is corrupt, or holds values that are not allowed: the error names the file, the
    /// place and the way out, and the service exits with 1. Also when another process has the directory open.
    pub fn open(state_dir: &Path, site_config: Option<&Path>) -> Result<Self, ConfigError> {
        Self::open_on(state_dir, site_config, Box::new(FileSystem))
    }

    pub(super) fn open_on(
        state_dir: &Path,
        site_config: Option<&Path>,
        disk: Box<dyn Disk>,
    ) -> Result<Self, ConfigError> {
        let state = StateFile::open(state_dir, disk)?;
        let base = read_base::<C>(site_config)?;
        let (version, config, source) = match state.read::<C>()? {
            Some(file::State {
                version,
                config: Some(config),
            }) => (version, config, Source::State),
            Some(file::State {
                version,
                config: None,
            }) => (version, base.config.clone(), base.source),
            None => (1, base.config.clone(), base.source),
        };
        let started = Arc::new(Versioned {
            version,
            config,
            source,
            pending_restart: Vec::new(),
        });
        let metrics = Metrics::default();
        metrics.version.set(version.cast_signed());
        logs::set_config_version(version);
        tracing::info!(source = ?source, "configuration read");
        Ok(Self(Arc::new(Inner {
            current: ArcSwap::new(Arc::clone(&started)),
            changes: watch::Sender::new(Arc::clone(&started)),
            started,
            files: Mutex::new(Files {
                state,
                site_path: site_config.map(Path::to_owned),
                base,
            }),
            metrics,
        })))
    }

    /// The configuration in effect. Takes no lock: for the hot path.
    #[must_use]
    pub fn current(&self) -> Arc<Versioned<C>> {
        self.0.current.load_full()
    }

    /// The version in effect, without touching the configuration's reference count.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.current.load().version
    }

    /// The configuration the process started with: what the restart-only fields are taken from.
    #[must_use]
    pub fn started(&self) -> Arc<Versioned<C>> {
        Arc::clone(&self.0.started)
    }

    /// Every configuration from now on; a slow receiver sees the newest one only.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Versioned<C>>> {
        self.0.changes.subscribe()
    }

    /// Hands the configuration in effect, and each one after it, to `apply`, for as long as there is a store. Needs a tokio runtime.
    pub fn follow(&self, apply: impl Fn(&C) + Send + Sync + 'static) {
        let mut changes = self.subscribe();
        apply(&self.current().config);
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let now = Arc::clone(&changes.borrow_and_update());
                apply(&now.config);
            }
        });
    }

    /// Registers `observastack_config_version` and `observastack_config_changes_total{outcome}`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let Metrics { version, changes } = &self.0.metrics;
        registry.register(
            "observastack_config_version",
            "Version of the configuration in effect",
            version.clone(),
        );
        registry.register(
            "observastack_config_changes",
            "Configuration changes asked for",
            changes.clone(),
        );
    }

    /// Replaces the whole configuration; see [`Change::Replace`] and [`ConfigStore::change`].
    ///
    /// # Errors
    /// See [`ConfigStore::change`].
    pub async fn replace(
        &self,
        document: Value,
        only: IfMatch,
    ) -> Result<Arc<Versioned<C>>, ConfigError> {
        self.change(Change::Replace(document), only).await
    }

    /// Applies a JSON merge patch; see [`Change::Patch`] and [`ConfigStore::change`].
    ///
    /// # Errors
    /// See [`ConfigStore::change`].
    pub async fn patch(
        &self,
        patch: Value,
        only: IfMatch,
    ) -> Result<Arc<Versioned<C>>, ConfigError> {
        self.change(Change::Patch(patch), only).await
    }

    /// Goes back to the site file or the defaults; see [`ConfigStore::change`].
    ///
    /// # Errors
    /// See [`ConfigStore::change`].
    pub async fn reset(&self, only: IfMatch) -> Result<Arc<Versioned<C>>, ConfigError> {
        self.change(Change::Reset, only).await
    }

    /// Reads the files again, for SIGHUP; see [`ConfigStore::change`].
    ///
    /// # Errors
    /// See [`ConfigStore::change`].
    pub async fn reload(&self) -> Result<Arc<Versioned<C>>, ConfigError> {
        self.change(Change::Reload, IfMatch::Any).await
    }

    /// Makes a change on a blocking thread of the current tokio runtime and returns what is in effect after it.
    ///
    /// Changes run one after the other, each on top of the one before. A change that has begun is finished even if
    /// the caller goes away.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every refused field, [`ConfigError::VersionMismatch`],
    /// [`ConfigError::DiskFull`], and the errors of files; after any of them memory and disk are as before.
    pub async fn change(
        &self,
        change: Change,
        only: IfMatch,
    ) -> Result<Arc<Versioned<C>>, ConfigError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.change_blocking(change, &only))
            .await
            .unwrap_or_else(|error| {
                Err(ConfigError::CutOff {
                    reason: error.to_string(),
                })
            })
    }

    /// As [`ConfigStore::change`], on the calling thread.
    ///
    /// # Errors
    /// See [`ConfigStore::change`].
    pub fn change_blocking(
        &self,
        change: Change,
        only: &IfMatch,
    ) -> Result<Arc<Versioned<C>>, ConfigError> {
        let outcome = self.apply(change, only);
        let label = if outcome.is_ok() {
            "accepted"
        } else {
            "rejected"
        };
        self.0
            .metrics
            .changes
            .get_or_create(&ChangeLabels { outcome: label })
            .inc();
        if let Err(error) = &outcome {
            tracing::warn!(%error, "configuration change refused");
        }
        outcome
    }

    fn apply(&self, change: Change, only: &IfMatch) -> Result<Arc<Versioned<C>>, ConfigError> {
        // A panic in here publishes nothing, so what the lock guards is still sound.
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if let IfMatch::Versions(versions) = only
            && !versions.contains(&current.version)
        {
            return Err(ConfigError::VersionMismatch {
                current: current.version,
            });
        }
        let invalid = |fields| ConfigError::Invalid { fields };
        let mut floor = current.version;
        let (config, source) = match change {
            Change::Replace(document) => {
                (document::parse(&document).map_err(invalid)?, Source::State)
            }
            Change::Patch(patch) => {
                let config = document::patched(&current.config, &patch, &files.base.config);
                (config.map_err(invalid)?, Source::State)
            }
            Change::Reset => (files.base.config.clone(), files.base.source),
            Change::Reload => {
                let base = read_base::<C>(files.site_path.as_deref())?;
                let state = files.state.read::<C>()?;
                files.base = base.clone();
                floor = floor.max(state.as_ref().map_or(0, |state| state.version));
                match state.and_then(|state| state.config) {
                    Some(config) if config == current.config && current.source == Source::State => {
                        return Ok(current);
                    }
                    None if base.config == current.config && current.source == base.source => {
                        return Ok(current);
                    }
                    Some(config) => (config, Source::State),
                    None => (base.config, base.source),
                }
            }
        };
        if floor >= MAX_VERSION {
            return Err(ConfigError::VersionsUsedUp { version: floor });
        }
        let version = floor + 1;
        files
            .state
            .write(version, (source == Source::State).then_some(&config))?;
        Ok(self.publish(version, config, source))
    }

    fn publish(&self, version: u64, config: C, source: Source) -> Arc<Versioned<C>> {
        let before = document::to_value(&self.current().config);
        let started = document::to_value(&self.0.started.config);
        let now = document::to_value(&config);
        let pending_restart: Vec<&'static str> = C::restart_fields()
            .iter()
            .copied()
            .filter(|field| document::at(&started, field) != document::at(&now, field))
            .collect();
        let changed = document::differences(&before, &now).join(",");
        let next = Arc::new(Versioned {
            version,
            config,
            source,
            pending_restart,
        });
        self.0.current.store(Arc::clone(&next));
        self.0.changes.send_replace(Arc::clone(&next));
        self.0.metrics.version.set(version.cast_signed());
        logs::set_config_version(version);
        let pending_restart = next.pending_restart.join(",");
        tracing::info!(source = ?source, changed, pending_restart, "configuration changed");
        next
    }
}

fn read_base<C: ServiceConfig>(site_config: Option<&Path>) -> Result<Base<C>, ConfigError> {
    let site = site_config.map(file::read_site).transpose()?.flatten();
    Ok(match site {
        Some(config) => Base {
            config,
            source: Source::Site,
        },
        None => Base {
            config: C::default(),
            source: Source::Default,
        },
    })
}

#[derive(Default)]
struct Metrics {
    version: Gauge,
    changes: Family<ChangeLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChangeLabels {
    outcome: &'static str,
}

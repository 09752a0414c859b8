//! Logs: journald's structured fields under systemd, readable lines on a terminal.
//!
//! Event fields become journal fields of the same name in capitals (`order_id` is `ORDER_ID`), so
//! `journalctl ORDER_ID=17` finds them. Every record also carries `CONFIG_VERSION` once the process has a versioned
//! configuration, see [`set_config_version`].

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::{Event, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use crate::traces;

/// The environment variable with the log filter, e.g. `info` or `observastack_kit=debug,info`.
pub const FILTER_VARIABLE: &str = "OBSERVASTACK_LOG";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogsError {
    /// The filter in the environment cannot be parsed.
    #[error(
        "{FILTER_VARIABLE}={value:?} is not a log filter: {reason}; allowed: error, warn, info, debug, trace, off, \
         or a list such as \"observastack_kit=debug,info\""
    )]
    Filter {
        /// The variable's value.
        value: String,
        /// What the parser says.
        reason: String,
    },
    /// Logging was set up before in this process.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// The version of the configuration in effect; 0 until there is one.
static CONFIG_VERSION: AtomicU64 = AtomicU64::new(0);

/// A subscriber's way to an OTLP collector, once there is one.
type Bridge = OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>;

/// Gives the subscriber its way to a collector.
static ATTACH_BRIDGE: OnceLock<Box<dyn Fn(Bridge) + Send + Sync>> = OnceLock::new();

/// Gives the journald layer its changed constant fields.
static UPDATE_JOURNAL: OnceLock<Box<dyn Fn(u64) + Send + Sync>> = OnceLock::new();

/// Sets the process's log output up: journald when `$JOURNAL_STREAM` is set, else standard error.
///
/// `service` becomes `SYSLOG_IDENTIFIER`. The filter comes from `$OBSERVASTACK_LOG` (default `info`). Records of the
/// `log` crate are taken in too. When journald cannot be reached the lines go to standard error, which the service
/// manager usually keeps as well.
///
/// # Errors
/// [`LogsError::Filter`] for a malformed filter, [`LogsError::AlreadySet`] on a second call.
pub fn init(service: &str) -> Result<(), LogsError> {
    let filter = filter_from_environment()?;
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        match journald(service, CONFIG_VERSION.load(Ordering::Relaxed)) {
            Ok(layer) => {
                let (layer, handle) = reload::Layer::new(layer);
                install(Registry::default().with(filter).with(bridge()).with(layer))?;
                let service = service.to_owned();
                // The only failure is that the subscriber is gone, or journald: there is nobody to tell.
                let _ = UPDATE_JOURNAL.set(Box::new(move |version| {
                    if let Ok(layer) = journald(&service, version) {
                        let _ = handle.reload(layer);
                    }
                }));
                return Ok(());
            }
            Err(error) => eprintln!(
                "{service}: journald cannot be reached ({error}), logging to standard error"
            ),
        }
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(WithConfigVersion(Format::default()));
    install(Registry::default().with(filter).with(bridge()).with(lines))
}

/// Puts `CONFIG_VERSION=version` on every record from now on; for the owner of the process's configuration.
pub fn set_config_version(version: u64) {
    if CONFIG_VERSION.swap(version, Ordering::Relaxed) != version
        && let Some(update) = UPDATE_JOURNAL.get()
    {
        update(version);
    }
}

/// Hands every record to a collector as well, with the ids of the span that is current then.
pub(crate) fn also_to(bridge: Bridge) {
    if let Some(attach) = ATTACH_BRIDGE.get() {
        attach(bridge);
    }
}

/// The layer that has nothing to do until [`also_to`].
///
/// As OpenTelemetry's `trace_based` logger: what is said below a warning of a request whose trace is not recorded stays in the journal.
fn bridge<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    Bridge: Layer<S>,
{
    let (layer, handle) = reload::Layer::new(None::<Bridge>);
    // The only failure is that the subscriber is gone.
    let _ = ATTACH_BRIDGE.set(Box::new(move |bridge| {
        let _ = handle.reload(Some(bridge));
    }));
    // Asked for each event: the answer is the moment's.
    layer.with_filter(dynamic_filter_fn(|metadata, _| {
        *metadata.level() <= tracing::Level::WARN || !traces::is_left_out()
    }))
}

fn filter_from_environment() -> Result<EnvFilter, LogsError> {
    let value = match std::env::var(FILTER_VARIABLE) {
        Ok(value) if !value.trim().is_empty() => value,
        Ok(_) | Err(std::env::VarError::NotPresent) => "info".to_owned(),
        Err(std::env::VarError::NotUnicode(raw)) => {
            return Err(LogsError::Filter {
                value: raw.to_string_lossy().into_owned(),
                reason: "not valid UTF-8".to_owned(),
            });
        }
    };
    // The profiler tells of every profile, and every 10 seconds of a server that is away; OTLP's sender tells of that once.
    let directives = if value.contains("yroscope") {
        value.clone()
    } else {
        format!("{value},Pyroscope=off,pyroscope=off")
    };
    EnvFilter::builder()
        .parse(&directives)
        .map_err(|error| LogsError::Filter {
            value,
            reason: error.to_string(),
        })
}

fn journald(service: &str, config_version: u64) -> std::io::Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer()?
        .with_field_prefix(None)
        .with_syslog_identifier(service.to_owned())
        // The default maps INFO to "notice" and DEBUG to "info", and `journalctl -p info` would show debug records.
        .with_priority_mappings(PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        });
    Ok(match config_version {
        0 => layer,
        version => layer.with_custom_fields([("CONFIG_VERSION", version.to_string())]),
    })
}

fn install(subscriber: impl Subscriber + Send + Sync) -> Result<(), LogsError> {
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::AlreadySet)?;
    // After the subscriber is there: the bridge then drops what no filter lets through at the call site.
    tracing_log::LogTracer::builder()
        .with_max_level(log_level(LevelFilter::current()))
        .init()
        .map_err(|_| LogsError::AlreadySet)
}

fn log_level(level: LevelFilter) -> tracing_log::log::LevelFilter {
    use tracing_log::AsLog;
    level.as_log()
}

/// The usual line, with the configuration's version at its end.
struct WithConfigVersion<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithConfigVersion<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        write!(writer, "{}", line.trim_end_matches('\n'))?;
        match CONFIG_VERSION.load(Ordering::Relaxed) {
            0 => writeln!(writer),
            version => writeln!(writer, " config_version={version}"),
        }
    }
}

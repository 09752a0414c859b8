//! What the environment says about sending.

use std::{env::VarError, time::Duration};

use http::Uri;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// Where to send, and how much may wait. The variables are those of the OpenTelemetry specification; those of the span processor
/// hold for log records too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector's base URL for OTLP over HTTP, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: how long a batch may take, retries included; 10 s by default.
    pub timeout: Duration,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: how many items of a signal may wait; 8192 by default.
    pub queue: usize,
    /// `OTEL_BSP_SCHEDULE_DELAY`: how long an item waits for company; 200 ms by default.
    pub delay: Duration,
}

/// A variable that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}={value:?} is not {allowed}")]
pub struct SettingsError {
    /// The variable.
    pub variable: &'static str,
    /// What it says.
    pub value: String,
    /// What it could say.
    pub allowed: &'static str,
}

impl Settings {
    /// From the process's environment; `None` where nothing is to be sent.
    ///
    /// # Errors
    /// A variable is malformed.
    pub fn from_environment() -> Result<Option<Self>, SettingsError> {
        Self::from_variables(variable)
    }

    fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        // An empty variable counts as unset, says the specification.
        let get = |name| get(name).filter(|value| !value.trim().is_empty());
        let is_disabled = get(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some(endpoint) = get(ENDPOINT).filter(|_| !is_disabled) else {
            return Ok(None);
        };
        if !is_http_base(&endpoint) {
            return Err(SettingsError {
                variable: ENDPOINT,
                value: endpoint,
                allowed: "a URL such as http://127.0.0.1:4318",
            });
        }
        let number = |variable, default, range: std::ops::RangeInclusive<u64>, allowed| {
            let Some(value) = get(variable) else {
                return Ok(default);
            };
            match value.trim().parse() {
                Ok(number) if range.contains(&number) => Ok(number),
                _ => Err(SettingsError {
                    variable,
                    value,
                    allowed,
                }),
            }
        };
        let (timeout_ms, delay_ms) = (
            number(
                TIMEOUT,
                10_000,
                1..=600_000,
                "a number of milliseconds from 1 to 600000",
            )?,
            number(
                DELAY,
                200,
                1..=60_000,
                "a number of milliseconds from 1 to 60000",
            )?,
        );
        let queue = number(QUEUE, 8_192, 1..=1_000_000, "a number from 1 to 1000000")?;
        Ok(Some(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            timeout: Duration::from_millis(timeout_ms),
            queue: usize::try_from(queue).unwrap_or(usize::MAX),
            delay: Duration::from_millis(delay_ms),
        }))
    }
}

/// A variable of the environment, readable or not.
pub(crate) fn variable(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(raw)) => Some(raw.to_string_lossy().into_owned()),
    }
}

/// Whether something can be sent there. There is no TLS: `https` could only fail later, and silently.
pub(crate) fn is_http_base(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(
        variables: &'static [(&'static str, &'static str)],
    ) -> Result<Option<Settings>, SettingsError> {
        Settings::from_variables(|name| {
            let (_, value) = variables.iter().find(|(at, _)| *at == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_sent_without_an_endpoint_or_where_it_is_switched_off() {
        assert_eq!(settings(&[]), Ok(None));
        assert_eq!(settings(&[(ENDPOINT, " ")]), Ok(None));
        let off = settings(&[(ENDPOINT, "http://[::1]:4318"), (DISABLED, "True")]);
        assert_eq!(off, Ok(None));
    }

    #[test]
    fn an_endpoint_alone_is_enough() {
        let settings = settings(&[(ENDPOINT, "http://127.0.0.1:4318/")])
            .unwrap()
            .unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:4318");
        assert_eq!(settings.queue, 8_192);
    }

    #[test]
    fn a_malformed_variable_is_named_with_what_it_could_say() {
        for (variable, value) in [
            (ENDPOINT, "127.0.0.1:4318"),
            (ENDPOINT, "https://collector"),
            (TIMEOUT, "10s"),
            (QUEUE, "0"),
            (DELAY, "-1"),
        ] {
            let endpoint = if variable == ENDPOINT {
                value
            } else {
                "http://localhost:4318"
            };
            let error = Settings::from_variables(|name| {
                (name == ENDPOINT)
                    .then(|| endpoint.to_owned())
                    .or_else(|| (name == variable).then(|| value.to_owned()))
            })
            .unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), (variable, value));
            assert!(error.to_string().contains(error.allowed), "{error}");
        }
    }
}

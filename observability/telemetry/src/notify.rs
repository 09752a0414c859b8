//! The process's state, told to the service manager (`sd_notify`).
//!
//! Outside systemd (`$NOTIFY_SOCKET` unset) every call does nothing.

use std::future::Future;
use std::time::Duration;

use systemd::daemon;

/// The service is up: what waits for the unit may go on.
pub fn ready() {
    send(&[(daemon::STATE_READY, "1".to_owned())]);
}

/// The service needs more time until [`ready`]: at least this much from now (`EXTEND_TIMEOUT_USEC`).
pub fn extend_start_timeout(more: Duration) {
    let more_us = u64::try_from(more.as_micros()).unwrap_or(u64::MAX);
    send(&[("EXTEND_TIMEOUT_USEC", more_us.to_string())]);
}

/// The service has begun to stop.
pub fn stopping() {
    send(&[(daemon::STATE_STOPPING, "1".to_owned())]);
}

/// The service has begun to read its configuration again; [`ready`] ends this state.
pub fn reloading() {
    // Type=notify-reload wants the time of the notice with it.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_us = now
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(now.tv_nsec / 1_000);
    send(&[
        (daemon::STATE_RELOADING, "1".to_owned()),
        ("MONOTONIC_USEC", now_us.to_string()),
    ]);
}

/// One line about what the service does, shown by `systemctl status`. Line breaks become spaces.
pub fn status(text: &str) {
    send(&[(daemon::STATE_STATUS, text.replace(['\n', '\r', '\0'], " "))]);
}

/// How long the service manager waits for a sign of life, or `None` when it does not watch this process.
#[must_use]
pub fn watchdog_timeout() -> Option<Duration> {
    match daemon::watchdog_enabled() {
        Ok(0) => None,
        Ok(timeout_us) => Some(Duration::from_micros(timeout_us)),
        Err(error) => {
            tracing::warn!(%error, "the watchdog's settings (WATCHDOG_USEC, WATCHDOG_PID) cannot be read");
            None
        }
    }
}

/// Feeds the watchdog every half of its timeout for as long as `alive` says so; ends when `shutdown` does.
///
/// Run it as a task of the runtime that does the work, so that a stuck runtime stops it. A `false` from `alive`
/// leaves one beat out, with a warning; a service that recovers in time is not killed. Without a watchdog it only
/// waits for `shutdown`.
pub async fn watchdog(alive: impl Fn() -> bool + Send, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = std::pin::pin!(shutdown);
    let Some(timeout) = watchdog_timeout() else {
        return shutdown.await;
    };
    let mut beats = tokio::time::interval(timeout / 2);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = beats.tick() => {}
        }
        if alive() {
            send(&[(daemon::STATE_WATCHDOG, "1".to_owned())]);
        } else {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                timeout_ms,
                "not alive: the watchdog gets no beat, and ends the process if this lasts"
            );
        }
    }
}

fn send(state: &[(&str, String)]) {
    if let Err(error) = daemon::notify(state.iter()) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

//! `trace syscalls`, `trace tcp`, `trace sched`: everything of a unit, as it happens in the kernel.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use observastack_spec::kernel::{Task, TraceEvent, Traceable, Traced};
use serde_json::Value;

use crate::{
    client::Client,
    failure::Failure,
    output,
    verbs::{counting, logs},
};

/// What is shown, and for how long.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Live {
    /// The unit, such as api@1.
    #[arg(long)]
    unit: String,
    /// For how long; until Ctrl-C if left out.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// The first so many.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,
    /// Only what took at least so long: a system call, or a wait for a CPU.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    min_duration: Option<Duration>,
    /// Only system calls that failed.
    #[arg(long)]
    failed: bool,
}

/// How a trace ended.
enum Ended {
    /// On somebody's wish.
    Wanted,
    /// The observer has ended it.
    Observer,
}

/// Prints events until the time is up, or somebody has seen enough.
pub(super) async fn run(
    live: &Live,
    what: Traceable,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let unit = counting::known(&counting::read(observer).await?, &live.unit)?;
    let path = format!("/v1/trace/{}/{}", what.name(), counting::escaped(&unit));
    let mut lines = observer.lines(&path).await?;
    let interrupted = counting::interrupted()?;
    let time_is_up = async {
        match live.length {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    let shown = async {
        let mut left = live.limit.unwrap_or(u64::MAX);
        while let Some(line) = lines.next().await {
            left -= u64::from(show(&line, live, json));
            if left == 0 {
                return Ended::Wanted;
            }
        }
        Ended::Observer
    };
    let ended = tokio::select! {
        ended = shown => ended,
        () = time_is_up => Ended::Wanted,
        () = interrupted => Ended::Wanted,
    };
    match ended {
        Ended::Wanted => Ok(ExitCode::SUCCESS),
        Ended::Observer => Err(Failure::Ended("the observer has ended".to_owned())),
    }
}

/// Prints one line of the stream, where it is wanted.
fn show(line: &[u8], live: &Live, json: bool) -> bool {
    let Ok(event) = serde_json::from_slice::<TraceEvent>(line) else {
        if let Ok(value) = serde_json::from_slice::<Value>(line)
            && value["event"] == "missed"
        {
            eprintln!(
                "warning: {} events came too fast to be shown",
                value["count"]
            );
        }
        return false;
    };
    if !is_wanted(&event.what, live) {
        return false;
    }
    if json {
        output::json_line(&event);
    } else {
        output::line(text(&event));
    }
    true
}

fn is_wanted(what: &Traced, live: &Live) -> bool {
    let least_ns = live.min_duration.map_or(0, |least| least.as_nanos());
    match what {
        Traced::Syscall {
            duration_ns, errno, ..
        } => u128::from(*duration_ns) >= least_ns && (errno.is_some() || !live.failed),
        Traced::Sched { waited_ns, .. } => u128::from(waited_ns.unwrap_or(0)) >= least_ns,
        _ => true,
    }
}

/// An event for people.
fn text(event: &TraceEvent) -> String {
    let task = |task: &Task| format!("{}[{}]", task.comm, task.tid);
    let what = match &event.what {
        Traced::Syscall {
            task: of,
            name,
            arguments: [one, two, three],
            returned,
            errno,
            duration_ns,
        } => {
            let result = match errno {
                Some(errno) => format!("-1 {errno}"),
                None => returned.to_string(),
            };
            let took = output::nanoseconds(*duration_ns);
            format!(
                "{} {name}({one:#x}, {two:#x}, {three:#x}) = {result} <{took}>",
                task(of)
            )
        }
        Traced::TcpState {
            from,
            to,
            local,
            remote,
        } => format!("{local} -> {remote} {from} -> {to}"),
        Traced::TcpRetransmit { local, remote } => {
            format!("{local} -> {remote} segment sent again")
        }
        Traced::TcpResetSent { local, remote } => format!("{local} -> {remote} reset sent"),
        Traced::TcpResetReceived { local, remote } => {
            format!("{local} -> {remote} reset received")
        }
        Traced::Sched {
            task: of,
            ran_ns,
            waited_ns,
            preempted,
        } => {
            let ran = output::nanoseconds(*ran_ns);
            let waited = waited_ns.map_or_else(String::new, |waited| {
                format!(" after a wait of {}", output::nanoseconds(waited))
            });
            let how = if *preempted { "preempted" } else { "sleeps" };
            format!("{} ran {ran}{waited}, {how}", task(of))
        }
    };
    format!("{} {what}", logs::time(event.at_unix_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            unit: "api@1".to_owned(),
            length: None,
            limit: None,
            min_duration: None,
            failed: false,
        }
    }

    fn task() -> Task {
        Task {
            pid: 7,
            tid: 8,
            comm: "api".to_owned(),
        }
    }

    fn call(errno: Option<&str>, duration_ns: u64) -> Traced {
        Traced::Syscall {
            task: task(),
            name: "openat".to_owned(),
            arguments: [0xffff_ff9c, 0x7f00, 0],
            returned: if errno.is_some() { -2 } else { 5 },
            errno: errno.map(str::to_owned),
            duration_ns,
        }
    }

    fn line(what: Traced) -> String {
        text(&TraceEvent {
            at_unix_us: 1_500_000,
            unit: "observastack-api@1.service".to_owned(),
            what,
        })
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(
            line(call(Some("ENOENT"), 2500)),
            "1970-01-01T00:00:01.500Z api[8] openat(0xffffff9c, 0x7f00, 0x0) = -1 ENOENT <2.5 µs>"
        );
        assert!(line(call(None, 10)).ends_with("= 5 <10 ns>"));
        let stay = |waited_ns, preempted| Traced::Sched {
            task: task(),
            ran_ns: 1_000_000,
            waited_ns,
            preempted,
        };
        assert!(
            line(stay(Some(2000), true))
                .ends_with("api[8] ran 1.0 ms after a wait of 2.0 µs, preempted")
        );
        assert!(line(stay(None, false)).ends_with("api[8] ran 1.0 ms, sleeps"));
    }

    #[test]
    fn filters_leave_out_what_is_quick_or_went_well() {
        let mut live = live();
        assert!(is_wanted(&call(None, 10), &live));
        live.failed = true;
        assert!(!is_wanted(&call(None, 10), &live));
        assert!(is_wanted(&call(Some("EIO"), 10), &live));
        live.min_duration = Some(Duration::from_micros(1));
        assert!(!is_wanted(&call(Some("EIO"), 10), &live));
        assert!(is_wanted(&call(Some("EIO"), 1000), &live));
    }
}

//! Profiles that the observer takes: whose stacks they are, their names, where they go.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    command, figures,
    http::{self, curl},
    lab::{self, API_1, CTL, INVENTORY, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "observer::a_profile_names_functions_of_the_program_and_of_the_kernel",
            on_cpu,
        ),
        test("observer::sleeps_have_stacks", asleep),
        test(
            "observer::one_profile_at_a_time_and_none_of_nothing",
            refused,
        ),
    ]
}

/// Every stack of a profile: its functions, and for how many nanoseconds.
fn stacks(profile: &Value) -> Result<Vec<(Vec<String>, u64)>> {
    let stacks = profile["stacks"].as_array().context("no stacks")?;
    let stack = |stack: &Value| {
        let frames = stack["frames"].as_array()?;
        let names = frames.iter().filter_map(Value::as_str).map(str::to_owned);
        Some((names.collect(), stack["time_ns"].as_u64()?))
    };
    stacks.iter().map(|one| stack(one).context("odd")).collect()
}

/// Reports of one API server, which compute, for so long.
fn compute(length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        let url = "http://127.0.0.1:8101/report/sales";
        let answer = curl(&["--max-time", "60", url])?;
        ensure!(answer.status == 200, "a report: {}", answer.status);
    }
    Ok(())
}

/// As many nanoseconds as the cgroup's own account has, of functions with names; drawn, and pushed to the collector.
pub(super) fn on_cpu() -> Result<()> {
    let picture = format!("{}/profile.svg", crate::agents::DIRECTORY);
    let used = || systemd::cgroup_value(API_1, "cpu.stat", "usage_usec");
    let (before, file) = (used()?, picture.clone());
    let taken = std::thread::spawn(move || {
        lab::ctl(&["profile", "--unit", "api@1", "--for", "5s", "-o", &file])
    });
    // It samples a moment later and ends a moment earlier.
    compute(Duration::from_millis(5500))?;
    let used = (used()? - before) * 1000;
    let profile = taken.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(profile["unit"] == API_1, "{profile}");
    let stacks = stacks(&profile)?;
    let told: u64 = stacks.iter().map(|(_, time_ns)| time_ns).sum();
    let part = |is: &dyn Fn(&str) -> bool| {
        let with = stacks
            .iter()
            .filter(|(frames, _)| frames.iter().any(|name| is(name)));
        with.map(|(_, time_ns)| time_ns).sum::<u64>() as f64 / told as f64
    };
    let kernel = part(&|name| name.ends_with(" [k]") && !name.starts_with('['));
    let program = part(&|name| name.contains("observastack_api::"));
    // The service's own profiler makes its report meanwhile, which is half of the work on an emulated machine.
    let profiler = part(&|name| name.contains("pyroscope::"));
    let nameless = part(&|name| name.starts_with('['));
    figures::note(format!(
        "{:.2} s sampled of {:.2} s used; {:.0} % below functions of the program's own, {:.0} % below its profiler's, {:.0} % in named ones of the kernel, {:.0} % with something that has no name",
        told as f64 / 1e9,
        used as f64 / 1e9,
        program * 100.0,
        profiler * 100.0,
        kernel * 100.0,
        nameless * 100.0
    ));
    // Two stacks may want the same place in the kernel's table; nothing else is missing.
    let notes = profile["notes"].as_array().into_iter().flatten();
    let notes: Vec<&str> = notes.filter_map(Value::as_str).collect();
    ensure!(
        notes.iter().all(|note| note.contains("found no room")),
        "{notes:?}"
    );
    ensure!(
        told as f64 >= used as f64 * 0.6 && told as f64 <= used as f64 * 1.2,
        "{told} ns told, {used} ns used"
    );
    ensure!(
        program > 0.5 * (1.0 - profiler),
        "few functions of the program's: {stacks:?}"
    );
    ensure!(kernel > 0.005, "no functions of the kernel's: {stacks:?}");
    let drawn = fs::read_to_string(&picture)?;
    ensure!(
        drawn.contains("</svg>") && drawn.contains("observastack_api::"),
        "{drawn}"
    );
    wait::until_true(wait::SOON, "the collector has it", || {
        // Whole stacks: the functions that use most by themselves may all be the kernel's and the runtime's.
        let kept = command::run(&[CTL, "profile", "api@1", "--kind", "kernel_cpu", "--folded"])?;
        kept.expect(0)?;
        Ok(kept.stdout.contains("observastack_api::"))
    })
}

fn asleep() -> Result<()> {
    let taken = std::thread::spawn(|| {
        lab::ctl(&["profile", "--unit", "inventory", "--off-cpu", "--for", "3s"])
    });
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        curl(&["--max-time", "20", "http://127.0.0.1:8200/stock/P00001"])?;
    }
    let profile = taken.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(profile["unit"] == INVENTORY, "{profile}");
    let stacks = stacks(&profile)?;
    figures::note(format!("inventory slept in {} places", stacks.len()));
    // A worker of the runtime, waiting for its sockets: the program's way there, and the kernel's.
    let waits = stacks.iter().find(|(frames, _)| {
        let has = |part: &str| frames.iter().any(|name| name.contains(part));
        has("do_epoll_wait [k]") && has("tokio::") && has("schedule [k]")
    });
    ensure!(waits.is_some(), "nobody waits for sockets: {stacks:?}");
    Ok(())
}

fn refused() -> Result<()> {
    let mut long = UnixStream::connect(lab::OBSERVER_SOCKET)?;
    write!(
        long,
        "GET /v1/profile/{API_1}?seconds=60 HTTP/1.1\r\nhost: localhost\r\n\r\n"
    )?;
    let path = format!("/v1/profile/{POSTGRESQL}?seconds=0.2");
    wait::until_true(wait::SOON, "a second one is refused", || {
        let answer = http::unix(lab::OBSERVER_SOCKET, "GET", &path, "")?;
        Ok(answer.status == 409 && answer.json()?["error"].to_string().contains("already"))
    })?;
    drop(long);
    // Whoever asked for it is gone, and so is it.
    wait::until_true(wait::SOON, "another one is taken", || {
        let answer = http::unix(lab::OBSERVER_SOCKET, "GET", &path, "")?;
        Ok(answer.status == 200 && answer.json()?["unit"] == POSTGRESQL)
    })?;
    let wrong = command::run(&[CTL, "profile", "nobody", "--for", "1s"])?;
    wrong.expect(2)?;
    wrong.says(&["no unit `nobody` is known", "api@1"])?;
    let wrong = command::run(&[CTL, "profile", "api@1", "--for", "1s", "--hz", "9999"])?;
    wrong.expect(2)?;
    wrong.says(&["hz=9999", "1 to 999"])
}

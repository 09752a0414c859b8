//! The engine under 500 random injects, clears, expiries, restarts and kills: afterwards the machine is as before.

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{
    agents::{ConnectProbe, UdpEcho},
    command, figures, http,
    lab::{self, API_1, API_2, INJECTOR, INJECTOR_SOCKET, INVENTORY},
    machine::Machine,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![test(
        "engine_chaos::after_500_random_steps_the_machine_is_as_before",
        chaos,
    )]
}

const STEPS: u32 = 500;
/// A seed to repeat a run with.
const SEED: &str = "OBSERVASTACK_CHAOS_SEED";
/// For all steps; the rest of the four minutes is for the way back.
const LIMIT: Duration = Duration::from_secs(180);
/// systemd gives up a service that is started more often than its limit of 20 a minute, with 500 ms between.
const KILLS: u32 = 25;

/// xorshift64*: all that a test needs of randomness.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize].clone()
    }
}

fn seed() -> Result<u64> {
    match env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text}")),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            Ok(now.as_nanos() as u64 | 1)
        }
    }
}

/// A random fault, as the API takes it.
fn fault(random: &mut Random) -> serde_json::Value {
    let direction = random.one_of(&["in", "out", "both"]);
    match random.below(11) {
        0 => json!({"kind": "packet-loss", "direction": direction, "burst": "1%,25%"}),
        1 => json!({"kind": "packet-loss", "direction": direction, "port": 8101}),
        2 => json!({"kind": "blackhole", "direction": direction}),
        3 => json!({"kind": "mtu-blackhole", "direction": direction, "mtu": 1000}),
        4 => json!({"kind": "connect-error", "errno": "ECONNREFUSED"}),
        5 => json!({"kind": "bind-error", "errno": "EADDRINUSE"}),
        6 => json!({"kind": "slow-receiver", "window": "0"}),
        7 => {
            json!({"kind": "signal", "signal": random.one_of(&["TERM", "KILL"]), "call": "epoll_wait"})
        }
        8 => json!({"kind": "reset", "interval": "200ms"}),
        9 => json!({"kind": "cpu-stress", "workers": 1 + random.below(2), "load": "20%"}),
        _ => match random.below(4) {
            0 => json!({"kind": "freeze"}),
            1 => json!({"kind": "freeze", "period": "100ms", "frozen": "30%"}),
            2 => json!({"kind": "unit", "action": "stop"}),
            _ => json!({"kind": "unit", "action": random.one_of(&["kill", "restart"])}),
        },
    }
}

#[derive(Default)]
struct Run {
    active: Vec<u64>,
    done: BTreeMap<&'static str, u32>,
    refused: BTreeMap<String, u32>,
    slowest: Duration,
}

impl Run {
    fn inject(&mut self, random: &mut Random, units: &[String]) -> Result<()> {
        // Half of them end by themselves on the way.
        let for_ms = if random.below(2) == 0 {
            100 + random.below(1_500)
        } else {
            20_000
        };
        let request =
            json!({"unit": random.one_of(units), "fault": fault(random), "for_ms": for_ms});
        let answer = http::unix(INJECTOR_SOCKET, "POST", "/faults", &request.to_string())?;
        match answer.status {
            201 => self
                .active
                .push(answer.json()?["id"].as_u64().context("no id")?),
            // Too many on one unit, a stop of what is stopped, or a systemd that is too busy to say: told, and nothing is left of it.
            409 | 422 | 500 | 503 => {
                let body = answer.json()?;
                let error = body["error"].as_str().unwrap_or_default();
                let kind = request["fault"]["kind"].as_str().unwrap_or_default();
                *self
                    .refused
                    .entry(format!("{} {kind}: {error}", answer.status))
                    .or_default() += 1;
            }
            status => bail!("{request} was answered {status}: {}", answer.body),
        }
        Ok(())
    }

    fn step(&mut self, random: &mut Random, units: &[String]) -> Result<&'static str> {
        let kills = self.done.get("kill -9").copied().unwrap_or(0);
        Ok(match random.below(100) {
            0..60 => {
                self.inject(random, units)?;
                "inject"
            }
            60..80 if !self.active.is_empty() => {
                let at = random.below(self.active.len() as u64) as usize;
                let id = self.active.swap_remove(at);
                let path = format!("/faults/{id}");
                let answer = http::unix(INJECTOR_SOCKET, "DELETE", &path, "")?;
                // It may have expired.
                ensure!(
                    [200, 404].contains(&answer.status),
                    "{path} was answered {}: {}",
                    answer.status,
                    answer.body
                );
                "clear"
            }
            80..82 => {
                http::unix(INJECTOR_SOCKET, "DELETE", "/faults", "")?.expect(200)?;
                self.active.clear();
                "clear all"
            }
            82..90 => {
                // A frozen unit stops when it is thawed: nobody waits for it here.
                let _ = command::run(&["systemctl", "reset-failed", INVENTORY, API_1, API_2]);
                let unit = random.one_of(units);
                command::output(&["systemctl", "restart", "--no-block", &unit])?;
                "restart of a unit"
            }
            90..95 if kills < KILLS => {
                command::output(&["systemctl", "reset-failed", INJECTOR])?;
                let process = systemd::kill_9(INJECTOR)?;
                systemd::wait_restarted(INJECTOR, process)?;
                self.active.clear();
                "kill -9"
            }
            _ => {
                thread::sleep(Duration::from_millis(random.below(100)));
                "expiry"
            }
        })
    }
}

fn chaos() -> Result<()> {
    let seed = seed()?;
    println!("{SEED}={seed}");
    figures::note(format!("chaos: {SEED}={seed}"));
    told(seed).with_context(|| format!("again with {SEED}={seed}"))
}

fn told(seed: u64) -> Result<()> {
    let (probe, echo) = (
        ConnectProbe::start("chaos-1", 9897)?,
        UdpEcho::start("chaos-2", 9898)?,
    );
    // Nothing attached for a fault that is over.
    systemd::restart(INJECTOR)?;
    let before = Machine::now()?;
    // Agents' units are gone when they are killed; faults of units that don't run are told apart below.
    let units: Vec<String> = [API_1, API_2, INVENTORY].map(str::to_owned).into();
    let mut random = Random(seed);
    let mut run = Run::default();
    let begun = Instant::now();
    for number in 0..STEPS {
        let step_begun = Instant::now();
        let step = run
            .step(&mut random, &units)
            .with_context(|| format!("step {number}"))?;
        run.slowest = run.slowest.max(step_begun.elapsed());
        *run.done.entry(step).or_default() += 1;
        ensure!(
            begun.elapsed() < LIMIT,
            "only {number} steps in {LIMIT:?}: {:?}",
            run.done
        );
    }
    figures::note(format!(
        "chaos: {:?} in {:?}, the slowest step took {:?}",
        run.done,
        begun.elapsed(),
        run.slowest
    ));
    for (refusal, count) in &run.refused {
        figures::note(format!("chaos: refused {count} times: {refusal}"));
    }
    let refused: u32 = run.refused.values().sum();
    ensure!(
        refused * 3 < run.done["inject"],
        "{refused} of {} injects were refused: {:?}",
        run.done["inject"],
        run.refused
    );
    lab::ctl(&["clear", "--all"])?;
    // Bystanders have seen nothing of it.
    let seen = probe.seen()?;
    ensure!(
        seen.faulted == 0 && seen.unfaulted > 1_000,
        "the bystander saw {seen:?}"
    );
    ensure!(
        echo.answers_within(Duration::from_secs(1))?,
        "the bystander gives no answer"
    );
    // systemd has given units up that were killed too often; that is its part of it.
    wait::until_true(wait::SOON, "every unit runs", || {
        let _ = command::run(&[&["systemctl", "reset-failed"], &lab::UNITS[..]].concat());
        command::output(&[&["systemctl", "start"], &lab::UNITS[..]].concat())?;
        Ok(true)
    })?;
    lab::wait_healthy()?;
    before.comes_back()
}

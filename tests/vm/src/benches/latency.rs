//! `latency` beside `netem`, the kernel's own network emulator, in turns in one machine: UDP round trips over the loopback device, each
//! way delayed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use observastack_loader::abi::{
    jitter,
    packet::{DIRECTION_IN, DIRECTION_OUT},
};

use crate::{
    qdisc::Qdisc,
    rules::Plan,
    scene::Scene,
    traffic::{MESSAGE_LEN, message, on_one_cpu, outside},
};

const UNIT: &str = "target.service";
const DELAYS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
];
const TURNS: usize = 12;
const ROUND_TRIPS: u64 = 20;

/// What the round trips of a turn are under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Nothing,
    Rule,
    Netem,
}

const VARIANTS: [Variant; 3] = [Variant::Nothing, Variant::Rule, Variant::Netem];

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "reference: nothing",
            Self::Rule => "`latency`, in and out",
            Self::Netem => "reference: `netem delay`",
        }
    }
}

pub(super) fn beside_netem(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let server = target.udp_echo(Ipv4Addr::LOCALHOST)?;
    println!();
    println!(
        "| each way | under | n | least ms | median ms | p99 ms | largest ms | median beyond asked ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for delay in DELAYS {
        let mut taken = VARIANTS.map(|_| Vec::new());
        for turn in 0..TURNS {
            for at in 0..VARIANTS.len() {
                // Each comes after each of the others.
                let at = (turn + at) % VARIANTS.len();
                let mut of_turn = under(scene, VARIANTS[at], delay, server)?;
                taken[at].append(&mut of_turn);
            }
        }
        for (variant, taken) in VARIANTS.into_iter().zip(&mut taken) {
            taken.sort_unstable();
            row(variant, delay, taken)?;
        }
    }
    Ok(())
}

fn under(
    scene: &mut Scene,
    variant: Variant,
    delay: Duration,
    server: SocketAddr,
) -> Result<Vec<Duration>> {
    match variant {
        Variant::Nothing => round_trips(server),
        Variant::Netem => {
            let _queue = Qdisc::netem(delay)?;
            round_trips(server)
        }
        Variant::Rule => {
            let _queue = Qdisc::fq()?;
            let plan = Plan::always().direction(DIRECTION_IN | DIRECTION_OUT);
            let rule = plan.latency(delay, Duration::ZERO, jitter::UNIFORM);
            let armed = scene.arm(UNIT, rule)?;
            let taken = round_trips(server);
            let counts = scene.disarm(armed)?;
            // The next variant has nothing attached.
            scene.loader.detach_idle();
            ensure!(counts.injected >= 2 * ROUND_TRIPS, "{counts:?}");
            taken
        }
    }
}

fn round_trips(server: SocketAddr) -> Result<Vec<Duration>> {
    on_one_cpu(|| {
        let socket = outside(server.ip())?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = [0; MESSAGE_LEN];
        (0..ROUND_TRIPS)
            .map(|n| {
                let began = Instant::now();
                socket.send_to(&message(n, 0), server)?;
                socket
                    .recv(&mut answer)
                    .with_context(|| format!("round trip {n} has no answer"))?;
                Ok(began.elapsed())
            })
            .collect()
    })
}

/// Quantiles of sorted times; an error where a delay is not there.
fn row(variant: Variant, delay: Duration, sorted: &[Duration]) -> Result<()> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let at = |share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    };
    let asked = if variant == Variant::Nothing {
        Duration::ZERO
    } else {
        2 * delay
    };
    ensure!(
        at(0.5) >= asked,
        "{}: {:?} in the middle, {asked:?} were asked",
        variant.name(),
        at(0.5)
    );
    println!(
        "| {} ms | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        delay.as_millis(),
        variant.name(),
        sorted.len(),
        ms(at(0.0)),
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0)),
        ms(at(0.5) - asked)
    );
    Ok(())
}

//! Changes and actors against the running kernel: as much of them as it has.
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail anywhere; clippy sees only functions marked as tests"
)]

mod support;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use observastack_injector::host::{
    Clsact, Fq, Freeze,
    actors::{Actor, ActorCounts, Choice, Pace, Reset, Work},
    change::Change,
    hands::{self, Hands, Options},
    journal::Journal,
    timer::Unarmed,
};
use observastack_loader::clock::monotonic_ns;
use support::{Cgroup, is_root, wait};

fn hands(directory: &tempfile::TempDir) -> Hands {
    let (hands, _thread) = hands::spawn(Options {
        journal: Journal::open(&directory.path().join("journal")).unwrap(),
        lease: directory.path().join("lease"),
        guard: None,
        armer: Box::new(Unarmed),
    })
    .unwrap();
    hands
}

fn in_a_minute() -> u64 {
    monotonic_ns() + 60_000_000_000
}

fn run(line: &str) -> (bool, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A pair of interfaces that nobody uses.
struct Veth(String);

impl Veth {
    fn new(letter: char) -> Self {
        let name = format!("obs{letter}{}", std::process::id());
        let (made, said) = run(&format!("ip link add {name} type veth peer name {name}p"));
        assert!(made, "{said}");
        Self(name)
    }

    fn qdiscs(&self) -> String {
        run(&format!("tc qdisc show dev {}", self.0)).1
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        run(&format!("ip link del {}", self.0));
    }
}

#[test]
fn a_frozen_cgroup_is_frozen_in_the_kernels_words() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("freeze");
    let directory = tempfile::tempdir().unwrap();
    let hands = hands(&directory);
    let freeze = Change::Freeze(Freeze {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup.path.clone()],
        pulsed: false,
    });
    hands
        .apply(7, "shop.service", in_a_minute(), vec![freeze], None)
        .wait()
        .unwrap();
    wait("frozen", || cgroup.is_frozen());
    hands.revert(7).wait().unwrap();
    wait("thawed", || !cgroup.is_frozen());
}

#[test]
fn a_clsact_of_ours_goes_with_the_last_fault_and_one_of_somebody_elses_stays() {
    if !is_root() {
        return;
    }
    let veth = Veth::new('c');
    let directory = tempfile::tempdir().unwrap();
    let hands = hands(&directory);
    let clsact = || {
        vec![Change::Clsact(Clsact {
            dev: veth.0.clone(),
        })]
    };
    for id in [1, 2] {
        hands
            .apply(id, "shop.service", in_a_minute(), clsact(), None)
            .wait()
            .unwrap();
        assert!(veth.qdiscs().contains("clsact"));
    }
    hands.revert(1).wait().unwrap();
    assert!(veth.qdiscs().contains("clsact"));
    hands.revert(2).wait().unwrap();
    assert!(!veth.qdiscs().contains("clsact"));

    assert!(run(&format!("tc qdisc add dev {} clsact", veth.0)).0);
    hands
        .apply(3, "shop.service", in_a_minute(), clsact(), None)
        .wait()
        .unwrap();
    hands.revert(3).wait().unwrap();
    assert!(veth.qdiscs().contains("clsact"));
}

#[test]
fn an_interface_with_a_configured_root_qdisc_is_refused_and_left_as_it_is() {
    if !is_root() {
        return;
    }
    let veth = Veth::new('f');
    let directory = tempfile::tempdir().unwrap();
    let hands = hands(&directory);
    let fq = || {
        vec![Change::Fq(Fq {
            dev: veth.0.clone(),
        })]
    };
    let (configured, said) = run(&format!(
        "tc qdisc replace dev {} root handle 1: pfifo limit 7",
        veth.0
    ));
    if configured {
        let before = veth.qdiscs();
        let refused = hands
            .apply(1, "shop.service", in_a_minute(), fq(), None)
            .wait()
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(&veth.0) && refused.contains("pfifo 1:"),
            "{refused}"
        );
        assert_eq!(veth.qdiscs(), before);
        assert!(run(&format!("tc qdisc del dev {} root", veth.0)).0);
    } else {
        assert!(said.contains("unknown"), "{said}");
    }
    // With the kernel's default: fq, or where the kernel has none, an error that says so and nothing left.
    let before = veth.qdiscs();
    match hands
        .apply(2, "shop.service", in_a_minute(), fq(), None)
        .wait()
    {
        Ok(()) => assert!(veth.qdiscs().contains("fq b5e: root"), "{}", veth.qdiscs()),
        Err(error) => assert!(error.to_string().contains("kind is unknown"), "{error}"),
    }
    hands.revert(2).wait().unwrap();
    assert_eq!(veth.qdiscs(), before);
    assert!(
        Journal::open(&directory.path().join("journal"))
            .unwrap()
            .is_empty()
            .unwrap()
    );
}

#[test]
fn the_connections_of_a_unit_are_destroyed_and_counted_and_others_live() {
    if !is_root() {
        return;
    }
    let mut cgroup = Cgroup::new("reset");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut ours_there, _) = listener.accept().unwrap();
    let mut there = Vec::new();
    for _ in 0..4 {
        cgroup.start(&format!("exec 3<>/dev/tcp/127.0.0.1/{port} && read -u 3"));
        there.push(listener.accept().unwrap().0);
    }
    let directory = tempfile::tempdir().unwrap();
    let hands = hands(&directory);
    let counts = Arc::new(ActorCounts::default());
    let reset = |port, peers: Option<&str>| {
        Actor::Reset(Reset {
            cgroups: vec![cgroup.path.clone()],
            port,
            peers: peers.map(|address| observastack_injector::host::actors::Network {
                address: address.parse().unwrap(),
                prefix: 24,
            }),
            pace: Pace::Once,
            choice: Choice {
                seed: 3,
                probability: 1.0,
            },
        })
    };
    let counted = || {
        (
            counts.matched.load(Ordering::Relaxed),
            counts.injected.load(Ordering::Relaxed),
            counts.skipped.load(Ordering::Relaxed),
        )
    };
    // Filters that fit none of them.
    for (id, actor) in [
        (1, reset(Some(1), None)),
        (2, reset(None, Some("192.0.2.0"))),
    ] {
        hands
            .apply(
                id,
                "shop.service",
                in_a_minute(),
                vec![],
                Some(Work {
                    actor,
                    counts: Arc::clone(&counts),
                    is_covert: false,
                }),
            )
            .wait()
            .unwrap();
        hands.revert(id).wait().unwrap();
    }
    assert_eq!(counted(), (0, 0, 0));
    let actor = reset(Some(port), Some("127.0.0.0"));
    hands
        .apply(
            3,
            "shop.service",
            in_a_minute(),
            vec![],
            Some(Work {
                actor,
                counts: Arc::clone(&counts),
                is_covert: false,
            }),
        )
        .wait()
        .unwrap();
    for stream in &mut there {
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    wait("the round is counted", || counted() == (4, 4, 0));
    ours.write_all(b"x").unwrap();
    ours_there.read_exact(&mut [0]).unwrap();
    assert!(fs::metadata(&cgroup.path).is_ok());
}

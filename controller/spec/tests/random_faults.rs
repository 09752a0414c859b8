//! Random faults of every kind, and random texts for every kind of value.
#![expect(
    clippy::unwrap_used,
    reason = "strategies are outside of test functions"
)]

use std::{fmt::Display, str::FromStr, time::Duration};

use observastack_spec::{
    Burst, Bytes, Call, Cidr, Direction, Distribution, Errno, Fault, FileKind, FileSystem,
    HumanDuration, Percent, Protocol, Rate, Signal, SocketFamily, SyscallName, UnitAction,
    ValueError,
    fault::{FaultRequest, FaultSpec, KINDS},
    faults::{
        Bandwidth, BindError, Blackhole, ConnectError, CpuQuota, CpuStress, DiskDelay, DiskError,
        DiskFill, FdLimit, Freeze, Latency, MemoryLimit, MtuBlackhole, PacketLoss, Reset,
        SignalFault, SlowReceiver, SyscallError, TasksLimit, UnitFault,
    },
};
use proptest::{option::of, prelude::*, sample::select};

fn time(low_ms: u64, high_ms: u64) -> impl Strategy<Value = HumanDuration> {
    (low_ms..=high_ms).prop_map(HumanDuration::from_millis)
}

fn peer() -> impl Strategy<Value = Option<Cidr>> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8)
        .prop_map(|(address, prefix)| Cidr::new(address.into(), prefix));
    let v6 = (any::<[u8; 16]>(), 0..=128_u8)
        .prop_map(|(address, prefix)| Cidr::new(address.into(), prefix));
    prop_oneof![Just(None), v4, v6]
}

type Filter = (Direction, Option<Protocol>, Option<u16>, Option<Cidr>);

fn filter() -> impl Strategy<Value = Filter> {
    (
        select(Direction::ALL),
        of(select(Protocol::ALL)),
        of(1_u16..),
        peer(),
    )
}

fn errno() -> impl Strategy<Value = Errno> {
    select(&["EIO", "ECONNREFUSED", "ENOSPC", "ETIMEDOUT"][..])
        .prop_map(|name| name.parse().unwrap())
}

fn signal() -> impl Strategy<Value = Signal> {
    select(&["TERM", "SIGKILL", "usr1"][..]).prop_map(|name| name.parse().unwrap())
}

fn packet_faults() -> impl Strategy<Value = Fault> {
    let burst =
        of((0.03..0.5_f64, 0.03..0.5_f64).prop_map(|(enter, leave)| Burst { enter, leave }));
    let rate = (8_000..=100_000_000_000_u64).prop_map(|bits| format!("{bits}bit").parse().unwrap());
    let loss = (filter(), burst).prop_map(|((direction, protocol, port, peer), burst)| {
        Fault::PacketLoss(PacketLoss {
            direction,
            protocol,
            port,
            peer,
            burst,
            syn_only: protocol == Some(Protocol::Tcp),
        })
    });
    let latency = (
        filter(),
        time(10, 5000),
        of(time(0, 10)),
        select(Distribution::ALL),
    );
    let latency = latency.prop_map(
        |((direction, protocol, port, peer), delay, jitter, spread)| {
            let distribution = if jitter.is_some() {
                spread
            } else {
                Distribution::Uniform
            };
            Fault::Latency(Latency {
                delay,
                jitter,
                distribution,
                direction,
                protocol,
                port,
                peer,
            })
        },
    );
    prop_oneof![
        loss,
        latency,
        (filter(), rate).prop_map(|((direction, protocol, port, peer), rate)| {
            Fault::Bandwidth(Bandwidth {
                rate,
                direction,
                protocol,
                port,
                peer,
            })
        }),
        filter().prop_map(|(direction, protocol, port, peer)| {
            Fault::Blackhole(Blackhole {
                direction,
                protocol,
                port,
                peer,
            })
        }),
        (filter(), 68..=65_535_u32).prop_map(|((direction, protocol, port, peer), mtu)| {
            Fault::MtuBlackhole(MtuBlackhole {
                mtu,
                direction,
                protocol,
                port,
                peer,
            })
        }),
        (filter(), errno()).prop_map(|((_, protocol, port, peer), errno)| {
            Fault::ConnectError(ConnectError {
                errno,
                protocol,
                port,
                peer,
            })
        }),
        (filter(), errno()).prop_map(|((_, protocol, port, _), errno)| {
            Fault::BindError(BindError {
                errno,
                protocol,
                port,
            })
        }),
        (filter(), of(time(100, 60_000))).prop_map(|((_, _, port, peer), interval)| {
            Fault::Reset(Reset {
                interval,
                port,
                peer,
            })
        }),
        (filter(), 0..=1_u64 << 30).prop_map(|((_, _, port, peer), window)| {
            Fault::SlowReceiver(SlowReceiver {
                window: Bytes::new(window),
                port,
                peer,
            })
        }),
    ]
}

fn call_faults() -> impl Strategy<Value = Fault> {
    let on_files = Call::ALL
        .iter()
        .copied()
        .filter(|call| call.has_file_kind());
    let on_files = proptest::sample::subsequence(on_files.collect::<Vec<_>>(), 1..=5);
    let filesystem =
        select(&["ext4", "tmpfs"][..]).prop_map(|name| name.parse::<FileSystem>().unwrap());
    let files = (
        on_files,
        errno(),
        of("/[a-z/]{0,20}"),
        of(filesystem),
        of(select(FileKind::ALL)),
    );
    let on_sockets = Call::ALL
        .iter()
        .copied()
        .filter(|call| call.is_on_sockets());
    let on_sockets = proptest::sample::subsequence(on_sockets.collect::<Vec<_>>(), 1..=6);
    let sockets = (on_sockets, errno(), of(select(SocketFamily::ALL)));
    let syscalls = select(&["read", "openat", "futex"][..])
        .prop_map(|name| name.parse::<SyscallName>().unwrap());
    prop_oneof![
        files.prop_map(|(calls, errno, path, filesystem, files)| {
            Fault::SyscallError(SyscallError {
                calls,
                errno,
                path,
                filesystem,
                files,
                sockets: None,
            })
        }),
        sockets.prop_map(|(calls, errno, sockets)| {
            Fault::SyscallError(SyscallError {
                calls,
                errno,
                path: None,
                filesystem: None,
                files: None,
                sockets,
            })
        }),
        (signal(), syscalls).prop_map(|(signal, call)| Fault::Signal(SignalFault { signal, call })),
    ]
}

fn resource_faults() -> impl Strategy<Value = Fault> {
    let freeze = (of(time(20, 60_000)), 1..=99_u32).prop_map(|(period, frozen)| {
        let frozen = Percent::new(if period.is_some() { frozen } else { 50 });
        Fault::Freeze(Freeze { period, frozen })
    });
    let delay = (time(1, 10_000), of(time(1, 10_000)), of(time(1, 10_000)));
    let turns = of((1..=3600_u64, 1..=3600_u64));
    let seconds = |seconds| HumanDuration::from(Duration::from_secs(seconds));
    let disk_error =
        (any::<bool>(), any::<bool>(), turns).prop_map(move |(reads, writes, turns)| {
            let (healthy, failing) = turns.unzip();
            Fault::DiskError(DiskError {
                reads,
                writes,
                healthy: healthy.map(seconds),
                failing: failing.map(seconds),
            })
        });
    let unit = (select(UnitAction::ALL), of(signal()), of(time(500, 60_000)));
    prop_oneof![
        (1..=10_000_u32).prop_map(|quota| Fault::CpuQuota(CpuQuota {
            quota: Percent::new(quota)
        })),
        (1_u64 << 20..).prop_map(|limit| Fault::MemoryLimit(MemoryLimit {
            limit: Bytes::new(limit)
        })),
        (1_u64..).prop_map(|limit| Fault::TasksLimit(TasksLimit { limit })),
        (0..=1_048_576_u64).prop_map(|limit| Fault::FdLimit(FdLimit { limit })),
        (1..=64_u32, 1..=100_u32).prop_map(|(workers, load)| {
            Fault::CpuStress(CpuStress {
                workers,
                load: Percent::new(load),
            })
        }),
        freeze,
        delay.prop_map(|(read, write, flush)| Fault::DiskDelay(DiskDelay {
            read: Some(read),
            write,
            flush
        })),
        disk_error,
        any::<u64>().prop_map(|leave| Fault::DiskFill(DiskFill {
            leave: Bytes::new(leave)
        })),
        unit.prop_map(|(action, signal, interval)| {
            Fault::Unit(UnitFault {
                action,
                signal: signal.filter(|_| action == UnitAction::Kill),
                interval: interval.filter(|_| action != UnitAction::Stop),
            })
        }),
    ]
}

fn requests() -> impl Strategy<Value = FaultRequest> {
    let faults = prop_oneof![packet_faults(), call_faults(), resource_faults()];
    let common = (
        0.0..=1.0_f64,
        1_u32..,
        any::<u64>(),
        of(1_u64..),
        of(any::<u64>()),
        any::<bool>(),
    );
    (faults, common, 100..=3_600_000_u64).prop_map(
        |(fault, (probability, every, after, max, seed, verbose), for_ms)| {
            let uses = fault.uses();
            let mut request = FaultRequest::new("shop", fault, Duration::from_millis(for_ms));
            if uses.probability {
                request.probability = probability;
            }
            if uses.every {
                request.every = every;
            }
            if uses.after {
                request.after = after;
            }
            request.max = max.filter(|_| uses.max);
            request.seed = seed.filter(|_| uses.seed);
            request.verbose = verbose && uses.verbose;
            request
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_validated_fault_survives_json(request in requests()) {
        let spec = request.clone().validate(5).unwrap();
        prop_assert_eq!(spec.seed, request.seed.unwrap_or(5));
        let text = serde_json::to_string(&spec).unwrap();
        let mut back: FaultSpec = serde_json::from_str(&text).unwrap();
        // serde_json reads a float to the last bit but one; the kernel's unit, 2^-32, is far coarser.
        prop_assert!((back.probability - spec.probability).abs() <= f64::EPSILON);
        back.probability = spec.probability;
        prop_assert_eq!(back, spec);
        let tag = format!(r#""kind":"{}""#, request.fault.kind());
        prop_assert!(text.contains(&tag), "{}", text);
        let again: FaultRequest = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        prop_assert_eq!(again.fault, request.fault);
    }
}

#[test]
fn every_kind_is_among_the_random_ones() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        seen.insert(
            requests()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .fault
                .kind(),
        );
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| !seen.contains(*kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is accepted prints a text that means the same.
fn reads_back<T: FromStr<Err = ValueError> + Display + PartialEq + std::fmt::Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert_eq!(
                shown.parse::<T>().as_ref(),
                Ok(&value),
                "{text:?} shown as {shown:?}"
            );
        }
        Err(error) => assert!(!error.allowed.is_empty(), "{text:?}"),
    }
}

fn all_read_back(text: &str) {
    reads_back::<Burst>(text);
    reads_back::<Bytes>(text);
    reads_back::<Call>(text);
    reads_back::<Cidr>(text);
    reads_back::<Direction>(text);
    reads_back::<Distribution>(text);
    reads_back::<Errno>(text);
    reads_back::<FileKind>(text);
    reads_back::<FileSystem>(text);
    reads_back::<HumanDuration>(text);
    reads_back::<Percent>(text);
    reads_back::<Protocol>(text);
    reads_back::<Rate>(text);
    reads_back::<Signal>(text);
    reads_back::<SocketFamily>(text);
    reads_back::<SyscallName>(text);
    reads_back::<UnitAction>(text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_refused_or_reads_back(text in ".{0,24}") {
        all_read_back(&text);
    }

    #[test]
    fn texts_with_digits_and_units_are_refused_or_read_back(
        text in "[0-9]{1,12}([.][0-9]{1,10})?(%|ms|s|m|h|d|us|ns|kbit|mbit|gbit|bit|KiB|MiB|GiB|TiB|kB|MB|B)?( [0-9]{1,3}s)?"
    ) {
        all_read_back(&text);
    }

    #[test]
    fn networks_are_refused_or_read_back(text in "([0-9]{1,3}[.]){3}[0-9]{1,3}(/[0-9]{1,3})?|[0-9a-f:]{2,20}(/[0-9]{1,3})?") {
        all_read_back(&text);
    }

    #[test]
    fn bursts_are_refused_or_read_back(enter in 0.0..1.0_f64, leave in 0.0..1.0_f64, percent: bool) {
        let text = if percent { format!("{}%,{}%", enter * 100.0, leave * 100.0) } else { format!("{enter},{leave}") };
        all_read_back(&text);
    }

    #[test]
    fn known_words_read_back(word in select(&["KILL", "sigterm", "EIO", "openat", "tcp", "both", "pareto", "char-device", "overlayfs", "restart"][..])) {
        all_read_back(word);
    }
}

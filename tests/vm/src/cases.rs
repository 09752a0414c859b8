//! The tests, one file per story.

mod bandwidth;
mod bind_error;
mod capabilities;
mod connect_error;
mod decisions;
mod hooks;
mod latency;
mod limits;
mod mtu_blackhole;
mod packet_filters;
mod packet_loss;
mod packet_loss_out;
mod signal;
mod slow_receiver;
mod syscall_error;
mod tcp_loss;
mod telemetry;
mod time;
mod tools;
mod units;

use anyhow::Result;
use libtest_mimic::{Failed, Trial};
use observastack_loader::FaultKind;

use crate::{
    expect::Kernel,
    holder::Held,
    scene::{Lab, Scene},
};

/// A test: its name says the behaviour.
type Case = (&'static str, fn(&mut Scene) -> Result<()>);

/// Every test, in the order of running: what the others stand on comes first.
pub(crate) fn all(lab: &Lab) -> Vec<Trial> {
    use FaultKind::{
        Bandwidth, BindError, ConnectError, Latency, MtuBlackhole, PacketLoss, Signal,
        SlowReceiver, SyscallError,
    };
    let stories: &[(&str, FaultKind, &[Case])] = &[
        ("tools", PacketLoss, tools::CASES),
        ("capabilities", PacketLoss, capabilities::CASES),
        ("packet_loss", PacketLoss, packet_loss::CASES),
        ("packet_filters", PacketLoss, packet_filters::CASES),
        ("packet_loss_out", PacketLoss, packet_loss_out::CASES),
        ("tcp_loss", PacketLoss, tcp_loss::CASES),
        ("mtu_blackhole", MtuBlackhole, mtu_blackhole::CASES),
        ("slow_receiver", SlowReceiver, slow_receiver::CASES),
        ("latency", Latency, latency::CASES),
        ("bandwidth", Bandwidth, bandwidth::CASES),
        ("connect_error", ConnectError, connect_error::CASES),
        ("bind_error", BindError, bind_error::CASES),
        ("syscall_error", SyscallError, syscall_error::CASES),
        ("signal", Signal, signal::CASES),
        ("units", PacketLoss, units::CASES),
        ("time", PacketLoss, time::CASES),
        ("hooks::slice", Held::Slice.kind(), hooks::SLICE),
        ("hooks::address", Held::Address.kind(), hooks::ADDRESS),
        ("hooks::interface", Held::Interface.kind(), hooks::INTERFACE),
        ("hooks::root", Held::Root.kind(), hooks::ROOT),
        ("hooks::security", Held::Security.kind(), hooks::SECURITY),
        (
            "hooks::tracepoint",
            Held::Tracepoint.kind(),
            hooks::TRACEPOINT,
        ),
        ("decisions", PacketLoss, decisions::CASES),
        ("limits", PacketLoss, limits::CASES),
        // The probes need what this fault needs, and no more.
        ("telemetry", Signal, telemetry::CASES),
        ("telemetry::network", Signal, telemetry::NETWORK),
        ("telemetry::machine", Signal, telemetry::MACHINE),
        ("telemetry::trace", Signal, telemetry::TRACE),
        ("telemetry::profile", Signal, telemetry::PROFILE),
    ];
    let mut trials = Vec::new();
    for (story, kind, cases) in stories {
        // What a kernel is known not to do is no test of it; that it is known is a test of its own (`capabilities`).
        if !lab.kernel.can(*kind) {
            println!(
                "    {story}: not on this kernel, which has no {}",
                kind.name()
            );
            continue;
        }
        for (name, test) in *cases {
            let (lab, test) = (lab.clone(), *test);
            // The tools are the guests'; the development machine's kernel lacks what half of them need.
            let is_elsewhere = *story == "tools" && lab.kernel == Kernel::Native;
            let trial = Trial::test(format!("{story}::{name}"), move || {
                lab.run(test)
                    .map_err(|error| Failed::from(format!("{error:#}")))
            });
            trials.push(trial.with_ignored_flag(is_elsewhere));
        }
    }
    trials
}

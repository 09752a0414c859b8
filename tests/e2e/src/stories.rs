//! The tests, in the order in which they run: first the lab as it is, then what breaks it.

mod audit;
mod bind_error;
mod blackhole;
mod cli;
mod collector;
mod collector_disk;
mod config;
mod connect_error;
mod controller;
mod cpu_stress;
mod disk_full;
mod drain;
mod drills;
mod dry_run;
mod engine_chaos;
mod expiry;
mod fault_sets;
mod fd_limit;
mod footprint;
mod freeze;
mod hardening;
mod learner;
mod life;
mod life_unit;
mod loadgen;
mod mcp;
mod mtu_blackhole;
mod observer;
mod observer_faults;
mod observer_on_demand;
mod observer_profile;
mod otlp;
mod packet_loss;
mod packet_loss_out;
mod panic;
mod prometheus;
mod recovery;
mod refusals;
mod refusals_permission;
mod refusals_start;
mod reset;
mod shop;
mod signal;
mod slow_receiver;
mod support;
mod unit_fault;
mod vm;
mod vm_disk;
mod vm_ends;
mod vm_limits;
mod vm_network;
mod vm_observer;
mod vm_syscalls;
mod way_back;

use libtest_mimic::Trial;

/// The kind of machine that the lab is on, and with it the stories that can be told there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lane {
    /// systemd-nspawn on the host's kernel, at full speed
    Nspawn,
    /// A virtual machine with Debian's stock kernel, emulated
    Vm,
    /// The same machine on the oldest kernel: the faults again, without each way to end for each of them
    VmOldest,
}

/// Every test of a lane.
pub(crate) fn all(lane: Lane) -> Vec<Trial> {
    let faults = || {
        [
            vm_network::tests(),
            vm_syscalls::tests(),
            vm_limits::tests(),
            fd_limit::tests(),
            reset::tests(),
            freeze::tests(),
            cpu_stress::tests(),
            unit_fault::tests(),
            vm_disk::tests(),
            vm_observer::tests(),
            vm_ends::tests(),
        ]
        .into_iter()
        .flatten()
    };
    if lane == Lane::Vm {
        return faults().chain(vm::tests()).collect();
    }
    if lane == Lane::VmOldest {
        return faults()
            .filter(|test| !test.name().contains("ends_in_every_way"))
            .collect();
    }
    [
        footprint::tests(),
        shop::tests(),
        cli::tests(),
        hardening::tests(),
        controller::tests(),
        prometheus::tests(),
        otlp::tests(),
        collector::tests(),
        loadgen::tests(),
        observer::tests(),
        observer_faults::tests(),
        observer_on_demand::tests(),
        observer_profile::tests(),
        collector_disk::tests(),
        config::tests(),
        disk_full::tests(),
        drain::tests(),
        recovery::tests(),
        packet_loss::tests(),
        connect_error::tests(),
        life::tests(),
        life_unit::tests(),
        refusals::tests(),
        refusals_permission::tests(),
        refusals_start::tests(),
        support::tests(),
        dry_run::tests(),
        packet_loss_out::tests(),
        blackhole::tests(),
        mtu_blackhole::tests(),
        slow_receiver::tests(),
        bind_error::tests(),
        reset::tests(),
        signal::tests(),
        fd_limit::tests(),
        cpu_stress::tests(),
        freeze::tests(),
        unit_fault::tests(),
        expiry::tests(),
        fault_sets::tests(),
        audit::tests(),
        panic::tests(),
        way_back::tests(),
        engine_chaos::tests(),
        drills::tests(),
        learner::tests(),
        mcp::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

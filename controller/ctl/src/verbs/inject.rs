//! `inject`: break a unit. One file per fault with its arguments.

mod bandwidth;
mod bind_error;
mod blackhole;
mod common;
mod connect_error;
mod cpu_quota;
mod cpu_stress;
mod disk_delay;
mod disk_error;
mod disk_fill;
mod fd_limit;
mod file;
mod follow;
mod freeze;
mod latency;
mod memory_limit;
mod mtu_blackhole;
mod packet_loss;
mod reset;
mod show;
mod signal;
mod slow_receiver;
mod syscall_error;
mod tasks_limit;
mod unit;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use hyper::Method;
use observastack_spec::{
    api::{DryRun, FaultStatus},
    order::ORDER,
};

use self::common::Wanted;
use crate::{client::Client, failure::Failure, output};

/// Break a unit: the fault ends by itself after --for, or with `clear`.
///
/// `inject FAULT --help` tells what a fault does, where in the kernel, what it needs, and what it does not do. A set of
/// faults comes from a YAML file: all of them are injected, or none.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "FAULT",
    subcommand_help_heading = "Faults",
    arg_required_else_help = true,
    after_help = format!("{ORDER}\n\n{EXAMPLES}")
)]
pub(crate) struct Inject {
    /// A YAML file with a set of faults, `-` for standard input.
    ///
    /// `faults:` and a list, whose entries have `unit`, `fault` (the fault's name), `for` and the fault's flags as fields.
    #[arg(long, short, value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Only tell what the file's faults would do, and whether this machine can.
    #[arg(long, requires = "file")]
    dry_run: bool,
    #[command(subcommand)]
    fault: Option<FaultArgs>,
}

const EXAMPLES: &str = "Examples:
  observastack-ctl inject packet-loss --unit observastack-api@1 --port 8101 --probability 20% --for 2m
  observastack-ctl inject connect-error --unit observastack-api@1 --errno ECONNREFUSED --port 8200 --for 30s --verbose
  observastack-ctl inject -f faults.yaml --dry-run

A file:
  faults:
    - {unit: observastack-api@1, fault: latency, for: 2m, delay: 150ms, jitter: 20ms}
    - unit: observastack-inventory
      fault: syscall-error
      for: 2m
      probability: 20%
      calls: [read, write]
      errno: EIO";

#[derive(Debug, Subcommand)]
enum FaultArgs {
    PacketLoss(packet_loss::PacketLossArgs),
    Latency(latency::LatencyArgs),
    Bandwidth(bandwidth::BandwidthArgs),
    Blackhole(blackhole::BlackholeArgs),
    MtuBlackhole(mtu_blackhole::MtuBlackholeArgs),
    ConnectError(connect_error::ConnectErrorArgs),
    BindError(bind_error::BindErrorArgs),
    Reset(reset::ResetArgs),
    SlowReceiver(slow_receiver::SlowReceiverArgs),
    SyscallError(syscall_error::SyscallErrorArgs),
    Signal(signal::SignalArgs),
    CpuQuota(cpu_quota::CpuQuotaArgs),
    MemoryLimit(memory_limit::MemoryLimitArgs),
    TasksLimit(tasks_limit::TasksLimitArgs),
    FdLimit(fd_limit::FdLimitArgs),
    CpuStress(cpu_stress::CpuStressArgs),
    Freeze(freeze::FreezeArgs),
    DiskDelay(disk_delay::DiskDelayArgs),
    DiskError(disk_error::DiskErrorArgs),
    DiskFill(disk_fill::DiskFillArgs),
    Unit(unit::UnitArgs),
}

impl From<FaultArgs> for Wanted {
    fn from(args: FaultArgs) -> Self {
        match args {
            FaultArgs::PacketLoss(args) => args.into(),
            FaultArgs::Latency(args) => args.into(),
            FaultArgs::Bandwidth(args) => args.into(),
            FaultArgs::Blackhole(args) => args.into(),
            FaultArgs::MtuBlackhole(args) => args.into(),
            FaultArgs::ConnectError(args) => args.into(),
            FaultArgs::BindError(args) => args.into(),
            FaultArgs::Reset(args) => args.into(),
            FaultArgs::SlowReceiver(args) => args.into(),
            FaultArgs::SyscallError(args) => args.into(),
            FaultArgs::Signal(args) => args.into(),
            FaultArgs::CpuQuota(args) => args.into(),
            FaultArgs::MemoryLimit(args) => args.into(),
            FaultArgs::TasksLimit(args) => args.into(),
            FaultArgs::FdLimit(args) => args.into(),
            FaultArgs::CpuStress(args) => args.into(),
            FaultArgs::Freeze(args) => args.into(),
            FaultArgs::DiskDelay(args) => args.into(),
            FaultArgs::DiskError(args) => args.into(),
            FaultArgs::DiskFill(args) => args.into(),
            FaultArgs::Unit(args) => args.into(),
        }
    }
}

/// Injects the fault or the set, shows it, and follows a fault's decisions where that was asked for.
pub(crate) async fn run(
    inject: Inject,
    injector: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let fault = match (inject.fault, inject.file) {
        (Some(fault), _) => fault,
        (None, Some(path)) => return file::run(&path, inject.dry_run, injector, json).await,
        (None, None) => return Err(Failure::Usage("name a fault, or a file with -f".to_owned())),
    };
    let Wanted { request, dry_run } = checked(fault.into())?;
    if dry_run {
        let answer: DryRun = injector
            .ask(Method::POST, "/faults?dry-run=1", Some(&request))
            .await?;
        if json {
            output::json(&answer);
        } else {
            output::line(show::dry_run(&answer));
        }
        return Ok(show::exit_code(&[answer]));
    }
    let status: FaultStatus = injector
        .ask(Method::POST, "/faults", Some(&request))
        .await?;
    match (json, request.verbose) {
        (true, false) => output::json(&status),
        // A stream is a value a line.
        (true, true) => output::json_line(&status),
        (false, _) => output::line(show::injected(&status)),
    }
    if request.verbose {
        follow::follow(&status, injector, json).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The injector checks again; here it is so that a wrong request costs no round trip, and exits with 2.
fn checked(wanted: Wanted) -> Result<Wanted, Failure> {
    match wanted.request.clone().validate(0) {
        Ok(_) => Ok(wanted),
        Err(errors) => Err(Failure::Invalid(errors)),
    }
}

/// The request of a whole command line.
#[cfg(test)]
fn request(inject: Inject) -> Result<observastack_spec::fault::FaultRequest, Failure> {
    let fault = inject
        .fault
        .ok_or_else(|| Failure::Usage("no fault".to_owned()))?;
    checked(fault.into()).map(|wanted| wanted.request)
}

#[cfg(test)]
mod grammar_tests;
#[cfg(test)]
mod tests;

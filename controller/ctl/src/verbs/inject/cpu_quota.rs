//! `inject cpu-quota`.

use clap::Args;
use observastack_spec::{Fault, Percent, faults::CpuQuota};

use super::common::{Held, Wanted};

/// The unit gets at most a share of one CPU.
///
/// The run-time property CPUQuota= of systemd (cpu.max of the cgroup): the unit is stopped for the rest of each 100 ms
/// once its share is used up. Reverted to what it was. Needs the cpu controller on cgroup v2.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject cpu-quota --unit observastack-api@1 --quota 20% --for 2m"
)]
pub(crate) struct CpuQuotaArgs {
    #[command(flatten)]
    held: Held,
    /// The share of one CPU: 1% to 10000%, 150% is one and a half.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    quota: Percent,
}

impl From<CpuQuotaArgs> for Wanted {
    fn from(args: CpuQuotaArgs) -> Self {
        let fault = Fault::CpuQuota(CpuQuota { quota: args.quota });
        args.held.of(fault)
    }
}

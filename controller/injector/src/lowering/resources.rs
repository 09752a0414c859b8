//! Faults that the kernel does not end by itself: limits, load, pulses, disks, the unit's life.

use observastack_spec::{
    HumanDuration, UnitAction,
    fault::FaultSpec,
    faults::{
        CpuQuota, CpuStress, DiskDelay, DiskError, DiskFill, FdLimit, Freeze, MemoryLimit, Reset,
        TasksLimit, UnitFault,
    },
};

use super::{LowerError, Plan};
use crate::{
    facts::Facts,
    host::{
        self, DmTable, Fill, Property, UnitStopped,
        actors::{self, Actor, Blow, Choice, FreezePulses, Network, Pace, UnitKill},
        change::Change,
        tables,
    },
    volume::Volume,
};

const NO_VOLUME: &str = "there is no data volume on this machine; install the lab with the playbook's variable observastack_data_volume=loop";

fn changed(change: Change) -> Plan {
    Plan {
        changes: vec![change],
        ..Plan::default()
    }
}

fn kept_up(actor: Actor) -> Plan {
    Plan {
        actor: Some(actor),
        ..Plan::default()
    }
}

fn pace(interval: Option<HumanDuration>) -> Pace {
    interval.map_or(Pace::Once, |interval| Pace::Every(interval.get()))
}

fn choice(spec: &FaultSpec) -> Choice {
    Choice {
        seed: spec.seed,
        probability: spec.probability,
    }
}

pub(super) fn reset(spec: &FaultSpec, fault: &Reset, facts: &Facts) -> Plan {
    kept_up(Actor::Reset(actors::Reset {
        cgroups: facts.cgroups.clone(),
        port: fault.port,
        peers: fault.peer.map(|peer| Network {
            address: peer.network(),
            prefix: peer.prefix(),
        }),
        pace: pace(fault.interval),
        choice: choice(spec),
    }))
}

pub(super) fn cpu_quota(spec: &FaultSpec, fault: &CpuQuota) -> Plan {
    let value = format!("{}%", fault.quota.get());
    changed(Change::Property(Property::new(
        &spec.unit, "CPUQuota", value,
    )))
}

/// Without swap: a limit that only makes a unit swap is another fault.
pub(super) fn memory_limit(spec: &FaultSpec, fault: &MemoryLimit) -> Plan {
    let limit = fault.limit.get().to_string();
    Plan {
        changes: vec![
            Change::Property(Property::new(&spec.unit, "MemorySwapMax", "0")),
            Change::Property(Property::new(&spec.unit, "MemoryMax", limit)),
        ],
        ..Plan::default()
    }
}

pub(super) fn tasks_limit(spec: &FaultSpec, fault: &TasksLimit) -> Plan {
    let limit = fault.limit.to_string();
    changed(Change::Property(Property::new(
        &spec.unit, "TasksMax", limit,
    )))
}

pub(super) fn fd_limit(spec: &FaultSpec, fault: &FdLimit, facts: &Facts) -> Plan {
    changed(Change::FdLimit(host::FdLimit {
        unit: spec.unit.clone(),
        cgroups: facts.cgroups.clone(),
        soft: fault.limit,
        processes: Vec::new(),
    }))
}

pub(super) fn cpu_stress(fault: &CpuStress, facts: &Facts) -> Plan {
    let running = facts.cgroups.iter().find(|cgroup| cgroup.is_dir());
    kept_up(Actor::CpuStress(actors::CpuStress {
        // A unit that is stopped has none yet; the actor waits for it.
        cgroup: running.or(facts.cgroups.first()).cloned(),
        processes: fault.workers,
        percent: fault.load.get(),
        binary: facts.binary.clone(),
    }))
}

pub(super) fn freeze(spec: &FaultSpec, fault: &Freeze, facts: &Facts) -> Plan {
    let change = Change::Freeze(host::Freeze {
        unit: spec.unit.clone(),
        cgroups: facts.cgroups.clone(),
        pulsed: fault.period.is_some(),
    });
    let pulses = fault.period.map(|period| {
        Actor::FreezePulses(FreezePulses {
            unit: spec.unit.clone(),
            cgroups: facts.cgroups.clone(),
            period: period.get(),
            frozen: period.get() * fault.frozen.get() / 100,
        })
    });
    Plan {
        actor: pulses,
        ..changed(change)
    }
}

fn volume(facts: &Facts) -> Result<&Volume, LowerError> {
    facts.volume.as_ref().ok_or(LowerError::Missing(NO_VOLUME))
}

/// The table's first half is read when the change is journalled: it is the device's own.
fn with_table(
    facts: &Facts,
    table: impl FnOnce(&tables::Linear) -> Result<String, tables::TableError>,
) -> Result<Plan, LowerError> {
    let volume = volume(facts)?;
    let linear = volume.table.as_ref().ok_or(LowerError::Missing(
        "the data volume's device-mapper table is not the plain one; another disk fault may hold it",
    ))?;
    Ok(changed(Change::DmTable(DmTable {
        device: volume.device.clone(),
        original_table: linear.to_string(),
        table: table(linear)
            .map_err(|_| LowerError::Missing("the fault asks for nothing to fail, or never"))?,
    })))
}

pub(super) fn disk_delay(fault: &DiskDelay, facts: &Facts) -> Result<Plan, LowerError> {
    let ms = |delay: Option<HumanDuration>| {
        delay.map_or(0, |delay| {
            u32::try_from(delay.get().as_millis()).unwrap_or(u32::MAX)
        })
    };
    with_table(facts, |linear| {
        Ok(tables::delay(
            linear,
            ms(fault.read),
            ms(fault.write),
            ms(fault.flush),
        ))
    })
}

pub(super) fn disk_error(fault: &DiskError, facts: &Facts) -> Result<Plan, LowerError> {
    let seconds = |time: Option<HumanDuration>, otherwise: u32| {
        time.map_or(otherwise, |time| {
            u32::try_from(time.get().as_secs()).unwrap_or(u32::MAX)
        })
    };
    let (reads, writes) = match (fault.reads, fault.writes) {
        (false, false) => (true, true),
        asked => asked,
    };
    with_table(facts, |linear| {
        tables::flakey(
            linear,
            seconds(fault.healthy, 0),
            // dm-flakey wants an interval; as long as any fault is always.
            seconds(fault.failing, 3600),
            reads,
            writes,
        )
    })
}

pub(super) fn disk_fill(id: u64, fault: &DiskFill, facts: &Facts) -> Result<Plan, LowerError> {
    let volume = volume(facts)?;
    Ok(changed(Change::Fill(Fill::new(
        &volume.mount_point,
        id,
        fault.leave.get(),
    ))))
}

pub(super) fn unit(spec: &FaultSpec, fault: &UnitFault) -> Plan {
    let unit = spec.unit.clone();
    let blow = match fault.action {
        UnitAction::Stop => return changed(Change::UnitStopped(UnitStopped { unit })),
        UnitAction::Restart => Blow::Restart,
        UnitAction::Kill => Blow::Signal(fault.kill_signal().to_string()),
    };
    kept_up(Actor::UnitKill(UnitKill {
        unit,
        blow,
        pace: pace(fault.interval),
        choice: choice(spec),
    }))
}

//! What is only counted, by unit.

/// Events of one unit, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounters {
    /// TCP connections that were asked for and not made.
    pub connect_failures: u64,
    /// TCP segments that were sent again.
    pub retransmits: u64,
    /// TCP resets that its sockets have sent.
    pub resets_sent: u64,
    /// TCP resets that its sockets have received.
    pub resets_received: u64,
    /// Page faults in user mode.
    pub page_faults: u64,
    /// Programs that were executed.
    pub execs: u64,
    /// Processes that have ended, by themselves or by a signal.
    pub exits: u64,
    /// Those of them that a signal has ended.
    pub exits_by_signal: u64,
    /// Those of them that the kernel has killed for want of memory.
    pub oom_kills: u64,
}

const _: () = assert!(size_of::<UnitCounters>() == 72);

impl UnitCounters {
    /// Adds what another CPU has counted.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            connect_failures,
            retransmits,
            resets_sent,
            resets_received,
            page_faults,
            execs,
            exits,
            exits_by_signal,
            oom_kills,
        } = self;
        for (counter, more) in [
            (connect_failures, other.connect_failures),
            (retransmits, other.retransmits),
            (resets_sent, other.resets_sent),
            (resets_received, other.resets_received),
            (page_faults, other.page_faults),
            (execs, other.execs),
            (exits, other.exits),
            (exits_by_signal, other.exits_by_signal),
            (oom_kills, other.oom_kills),
        ] {
            *counter = counter.wrapping_add(more);
        }
    }
}

/// What the probes could not keep, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Waits for a CPU whose beginning was overwritten by another task's.
    pub run_queue: u64,
    /// Connections, block requests, reclaims and system calls whose beginning did not fit.
    pub beginnings: u64,
    /// Series that did not fit: drops by reason, block I/O by device, system calls by number.
    pub series: u64,
    /// Events that did not fit into the ring buffer.
    pub events: u64,
    /// Events of traced units that did not fit into theirs.
    pub traced: u64,
}

const _: () = assert!(size_of::<Losses>() == 40);

impl Losses {
    /// Adds what another CPU has counted.
    pub fn merge(&mut self, other: &Self) {
        self.run_queue = self.run_queue.wrapping_add(other.run_queue);
        self.beginnings = self.beginnings.wrapping_add(other.beginnings);
        self.series = self.series.wrapping_add(other.series);
        self.events = self.events.wrapping_add(other.events);
        self.traced = self.traced.wrapping_add(other.traced);
    }
}

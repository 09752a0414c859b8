//! The one list of all faults.

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Map, Value};

use crate::{
    FieldError,
    faults::{
        Bandwidth, BindError, Blackhole, ConnectError, CpuQuota, CpuStress, DiskDelay, DiskError,
        DiskFill, FdLimit, Freeze, Latency, MemoryLimit, MtuBlackhole, PacketLoss, Parameters,
        Reset, SignalFault, SlowReceiver, SyscallError, TasksLimit, UnitFault, Uses,
    },
    named::{self, Refusal},
};

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident($parameters:ident),)*) => {
        /// A fault's name and its own parameters.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Fault {
            $($(#[$doc])* $variant($parameters),)*
        }

        /// Every fault's name, in the order in which help shows them.
        pub const KINDS: &[&str] = &[$($parameters::KIND,)*];

        impl Fault {
            /// The fault's name as users write it.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $parameters::KIND,)*
                }
            }

            /// Which of the common options it has a use for.
            pub fn uses(&self) -> Uses {
                match self {
                    $(Self::$variant(parameters) => parameters.uses(),)*
                }
            }

            /// Adds an error for each of its own fields that is out of range.
            pub fn check(&self, errors: &mut Vec<FieldError>) {
                match self {
                    $(Self::$variant(parameters) => parameters.check(errors),)*
                }
            }

            /// The fault's own parameters for people; empty where there is nothing to say.
            pub fn parameters(&self) -> String {
                match self {
                    $(Self::$variant(parameters) => parameters.describe(),)*
                }
            }

            /// Reads the parameters of a fault by its name.
            pub(crate) fn from_fields<'de, V: Deserializer<'de>>(
                kind: &str,
                fields: Vec<(String, V)>,
            ) -> Result<Self, Refusal> {
                match kind {
                    $($parameters::KIND => named::read(fields).map(Self::$variant),)*
                    _ => Err(Refusal::unknown_kind(kind)),
                }
            }
        }
    };
}

faults! {
    /// Packets vanish.
    PacketLoss(PacketLoss),
    /// Packets leave later.
    Latency(Latency),
    /// Packets leave no faster than a rate.
    Bandwidth(Bandwidth),
    /// Everything vanishes.
    Blackhole(Blackhole),
    /// Large packets vanish.
    MtuBlackhole(MtuBlackhole),
    /// connect(2) fails.
    ConnectError(ConnectError),
    /// bind(2) fails.
    BindError(BindError),
    /// Established TCP connections are destroyed.
    Reset(Reset),
    /// Peers see a small window.
    SlowReceiver(SlowReceiver),
    /// Kinds of system calls fail.
    SyscallError(SyscallError),
    /// A signal at a system call.
    Signal(SignalFault),
    /// Less CPU.
    CpuQuota(CpuQuota),
    /// Less memory.
    MemoryLimit(MemoryLimit),
    /// Fewer tasks.
    TasksLimit(TasksLimit),
    /// Fewer file descriptors.
    FdLimit(FdLimit),
    /// Load inside the unit's cgroup.
    CpuStress(CpuStress),
    /// The unit stands still.
    Freeze(Freeze),
    /// The data volume is slow.
    DiskDelay(DiskDelay),
    /// The data volume fails.
    DiskError(DiskError),
    /// The data volume is full.
    DiskFill(DiskFill),
    /// Kill, stop, restart.
    Unit(UnitFault),
}

/// By hand, because serde's own code for tagged enums forgets which field a value was for.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let kind = match fields.remove("kind") {
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(D::Error::custom("kind: not a text")),
            None => return Err(D::Error::missing_field("kind")),
        };
        Self::from_fields(&kind, fields.into_iter().collect()).map_err(D::Error::custom)
    }
}

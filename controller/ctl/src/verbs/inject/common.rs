//! Arguments that several faults share.

use std::{ops::RangeInclusive, time::Duration};

use clap::Args;
use observastack_spec::{
    Cidr, Direction, Fault, Protocol, ValueError, duration, fault::FaultRequest, probability,
};

/// A parser of one of a few words, which help and completions list.
macro_rules! one_of {
    ($name:ty) => {{
        use clap::builder::TypedValueParser as _;
        let names = <$name>::ALL.iter().map(|choice| choice.name());
        clap::builder::PossibleValuesParser::new(names).try_map(|name| name.parse::<$name>())
    }};
}
pub(super) use one_of;

/// What the arguments ask for.
pub(super) struct Wanted {
    pub(super) request: FaultRequest,
    /// Only tell what would be done.
    pub(super) dry_run: bool,
}

/// What every fault has.
#[derive(Debug, Args)]
pub(super) struct Held {
    /// The unit to break, in a target slice; `.service` may be left out.
    #[arg(long)]
    unit: String,
    /// How long it holds: 100ms to 1h, such as 30s or 2m.
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true, value_parser = parse_held)]
    held: Duration,
    /// Only tell what would be done, and whether this machine can.
    #[arg(long)]
    dry_run: bool,
}

impl Held {
    /// A request for a fault.
    pub(super) fn of(self, fault: Fault) -> Wanted {
        Wanted {
            request: FaultRequest::new(self.unit, fault, self.held),
            dry_run: self.dry_run,
        }
    }
}

/// Which events are faulted, for faults that pick single ones.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct Events {
    /// The share of matching events that is faulted: 20% or 0.2.
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "100%",
        allow_hyphen_values = true,
        value_parser = parse_probability
    )]
    probability: f64,
    /// Only every Nth matching event; together with --probability a share of these.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        allow_hyphen_values = true,
        value_parser = whole::<u32>(1..=u64::from(u32::MAX))
    )]
    every: u32,
    /// The same seed faults the same event numbers again; drawn and shown where it is not given.
    #[arg(long, allow_hyphen_values = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
    #[command(flatten)]
    rest: EveryEvent,
}

impl Events {
    pub(super) fn apply(self, mut wanted: Wanted) -> Wanted {
        wanted.request.probability = self.probability;
        wanted.request.every = self.every;
        wanted.request.seed = self.seed;
        self.rest.apply(wanted)
    }
}

/// From which event on and to which, for faults of all events in between.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct EveryEvent {
    /// Leave the first N matching events alone.
    #[arg(
        long,
        value_name = "N",
        default_value = "0",
        allow_hyphen_values = true,
        value_parser = whole::<u64>(0..=u64::MAX)
    )]
    after: u64,
    /// Fault no more than N events; the fault stays, and lets the others pass.
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        value_parser = whole::<u64>(1..=u64::MAX)
    )]
    max: Option<u64>,
    /// Stream the rule's decisions from the kernel until it ends (Ctrl-C leaves the fault in place).
    #[arg(long, short)]
    verbose: bool,
}

impl EveryEvent {
    pub(super) fn apply(self, mut wanted: Wanted) -> Wanted {
        wanted.request.after = self.after;
        wanted.request.max = self.max;
        wanted.request.verbose = self.verbose;
        wanted
    }
}

/// Which packets. Each fault gives the direction its own default.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which packets")]
pub(super) struct PacketFilter {
    /// Which way, seen from the unit.
    #[arg(long, value_parser = one_of!(Direction))]
    pub(super) direction: Direction,
    /// Only packets of this protocol.
    #[arg(long, value_parser = one_of!(Protocol))]
    pub(super) protocol: Option<Protocol>,
    /// Only TCP and UDP packets with this port at either end.
    #[arg(
        long,
        value_name = "PORT",
        allow_hyphen_values = true,
        value_parser = whole::<u16>(1..=65_535)
    )]
    pub(super) port: Option<u16>,
    /// Only packets to or from this address or network: 10.0.0.7, 10.0.0.0/8, 2001:db8::/32.
    #[arg(long, value_name = "CIDR")]
    pub(super) peer: Option<Cidr>,
}

/// A parser of whole numbers that says which are allowed.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse::<u64>().ok();
        number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "use a whole number from {} to {}",
                    range.start(),
                    range.end()
                )
            })
    }
}

pub(super) fn parse_probability(text: &str) -> Result<f64, ValueError> {
    probability::parse(text).map_err(ValueError::from)
}

fn parse_held(text: &str) -> Result<Duration, ValueError> {
    duration::parse_fault_duration(text).map_err(ValueError::from)
}

//! A verbose rule's decisions, as the programs log them through aya-log.

use std::sync::mpsc;

use log::{Level, Log, Metadata, Record};

/// One logged decision about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The fault's id.
    pub fault: u64,
    /// What happened: `packet` or `connect`.
    pub event: String,
    /// The event's number under its rule, from 0.
    pub n: u64,
    /// The port that the event was matched by; 0 where the rule has none.
    pub port: u16,
    /// Whether the event was faulted.
    pub faulted: bool,
}

impl Decision {
    /// Reads a line of the form `fault=1 event=packet n=3 port=80 faulted=1`; `None` for anything else.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        let decision = Self {
            fault: value("fault")?.parse().ok()?,
            event: value("event")?.to_owned(),
            n: value("n")?.parse().ok()?,
            port: value("port")?.parse().ok()?,
            faulted: value("faulted")?.parse::<u8>().ok()? == 1,
        };
        words.next().is_none().then_some(decision)
    }
}

/// Where aya-log's records go: parsed, into a bounded channel; a full channel loses the line, never the time.
pub(crate) struct DecisionSink(pub(crate) mpsc::SyncSender<Decision>);

impl Log for DecisionSink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(decision) = Decision::parse(&record.args().to_string()) {
            let _ = self.0.try_send(decision);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_programs_is_understood() {
        let decision = Decision::parse("fault=12 event=packet n=34 port=8101 faulted=1").unwrap();
        assert_eq!(
            decision,
            Decision {
                fault: 12,
                event: "packet".into(),
                n: 34,
                port: 8101,
                faulted: true
            }
        );
    }

    #[test]
    fn other_lines_are_not() {
        for line in [
            "",
            "fault=1",
            "fault=x event=packet n=1 port=2 faulted=1",
            "fault=1 event=a n=1 port=2 faulted=1 more=1",
        ] {
            assert_eq!(Decision::parse(line), None, "{line}");
        }
    }
}

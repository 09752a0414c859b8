//! Whole runs of the template in a lab of the tests' own: it is broken as long as a fault acts on api@1 and the gateway asks it.

mod crashes;
mod moments;
mod offers;
mod refusals;
mod runs;

use super::*;
use crate::fake::{Fake, FakeLab};
use observastack_spec::{
    drill::{
        life::{Outcome, Phase},
        score::Verdict,
    },
    scenario::{
        answer::{Cause, Component, Diagnosis, Evidence, Mechanism, Signal},
        sealed::{Repair, Shortcut},
        template,
    },
};

const TICK_MS: u64 = 500;

fn library(holds: bool) -> Library {
    let files = template::named("a-drill").unwrap();
    let mut scenario = Scenario::read(&files.brief, &files.sealed).unwrap();
    // Something that a reset does not take back by itself, too.
    let step = serde_json::json!({"at": "0s", "do": {"sql": {"do": "DROP INDEX a", "undo": "CREATE INDEX a", "hold": holds}}});
    let text = files
        .sealed
        .replace("steps:\n", &format!("steps:\n  - {step}\n"));
    scenario.sealed = Scenario::read(&files.brief, &text).unwrap().sealed;
    [("a-drill".to_owned(), Arc::new(scenario))].into()
}

/// A runner, its lab, and a clock.
struct Bench {
    directory: tempfile::TempDir,
    lab: FakeLab,
    runner: Runner<FakeLab>,
    now_ms: u64,
    /// Whether the scenario keeps a session open.
    holds: bool,
    /// Other drills than the template.
    drills: Option<Library>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lab = FakeLab::default();
        let runner = open(&directory, &lab, 0, false, library(false));
        Self {
            drills: None,
            directory,
            lab,
            runner,
            now_ms: 1_000,
            holds: false,
        }
    }

    fn started() -> Self {
        let mut bench = Self::new();
        bench.say(Command::Start {
            id: "a-drill".to_owned(),
            seed: 7,
        });
        bench
    }

    fn investigating() -> Self {
        let mut bench = Self::started();
        bench.until(Phase::Investigating);
        bench
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn tell(&mut self, command: Command) -> Result<(), Refusal> {
        self.tell_as(Reader::Learner, command)
    }

    fn tell_as(&mut self, by: Reader, command: Command) -> Result<(), Refusal> {
        Self::block_on(self.runner.command(self.now_ms, command, by))
    }

    fn say(&mut self, command: Command) {
        self.tell(command.clone())
            .unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
    }

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        Self::block_on(self.runner.tick(self.now_ms)).unwrap();
    }

    /// Ticks until the run is there; at most 40 minutes.
    fn until(&mut self, phase: Phase) {
        let end_ms = self.now_ms + 40 * 60_000;
        while self.runner.phase() != Some(phase) {
            assert!(
                self.now_ms < end_ms,
                "{phase:?} never came; it is {:?}",
                self.runner.standing(Reader::Learner)
            );
            self.tick();
        }
    }

    fn until_closed(&mut self) {
        for _ in 0..200 {
            if self.runner.phase().is_none() {
                return;
            }
            self.tick();
        }
        panic!(
            "it is not over: {:?}",
            self.runner.standing(Reader::Learner)
        );
    }

    /// The process ends, however it ends, and begins anew.
    fn crash(&mut self, rebooted: bool) {
        if rebooted {
            self.lab.with(Fake::reboot);
        }
        self.runner = open(
            &self.directory,
            &self.lab,
            self.now_ms,
            rebooted,
            self.drills.clone().unwrap_or_else(|| library(self.holds)),
        );
    }

    fn repair(&self) {
        let library = library(false);
        for step in &library["a-drill"].sealed.reference.repair {
            if let Repair::Config(config) = &step.value {
                Self::block_on(self.lab.configure(config)).unwrap();
            }
        }
    }

    /// A repair was found to be none, for this.
    fn assert_not_repaired(&self, words: &str) {
        let texts = self.texts();
        assert!(
            texts
                .iter()
                .any(|text| text.contains("not-repaired") && text.contains(words)),
            "{words}: {texts:#?}"
        );
    }

    fn texts(&self) -> Vec<String> {
        let (_, entries) = self.runner.public_entries(0, Reader::Learner).unwrap();
        entries
            .iter()
            .map(|entry| serde_json::to_string(&entry.what).unwrap())
            .collect()
    }
}

fn open(
    directory: &tempfile::TempDir,
    lab: &FakeLab,
    now_ms: u64,
    rebooted: bool,
    library: Library,
) -> Runner<FakeLab> {
    let store = Store::open(&directory.path().join("drills.db")).unwrap();
    Runner::open(
        lab.clone(),
        store,
        library,
        Mode::Assessed,
        now_ms,
        rebooted,
    )
    .unwrap()
}

fn right() -> Command {
    Command::Diagnose(Diagnosis {
        component: Component::Api1,
        mechanism: Mechanism::PacketLoss,
        cause: Cause::Network,
        evidence: vec![Evidence {
            signal: Signal::Drops,
            of: Component::Api1,
        }],
    })
}

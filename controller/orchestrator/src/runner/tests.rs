//! Whole runs of the template in a lab of the tests' own: it is broken as long as a fault acts on api@1 and the gateway asks it.

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
use proptest::prelude::*;

use super::*;
use crate::fake::{Fake, FakeLab};

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
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lab = FakeLab::default();
        let runner = open(&directory, &lab, 0, false, false);
        Self {
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
        Self::block_on(self.runner.command(self.now_ms, command))
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
                self.runner.standing()
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
        panic!("it is not over: {:?}", self.runner.standing());
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
            self.holds,
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

    fn texts(&self) -> Vec<String> {
        let (_, entries) = self.runner.public_entries(0).unwrap();
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
    holds: bool,
) -> Runner<FakeLab> {
    let store = Store::open(&directory.path().join("drills.db")).unwrap();
    Runner::open(
        lab.clone(),
        store,
        library(holds),
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

#[test]
fn the_reference_solution_passes_and_the_lab_is_as_it_was() {
    let mut bench = Bench::investigating();
    assert!(bench.lab.with(|lab| lab.is_broken() && lab.load.is_some()));
    bench.say(right());
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    let score = bench.runner.score().unwrap();
    assert_eq!(score.verdict, Verdict::Pass, "{score:?}");
    assert!(score.total > 95.0, "{score:?}");
    assert_eq!(bench.runner.outcome(), Some(&Outcome::Repaired));
    bench.say(Command::Reset);
    bench.until_closed();
    bench.lab.with(|lab| lab.assert_clean());
}

#[test]
fn who_does_nothing_runs_out_of_time() {
    let mut bench = Bench::investigating();
    bench.until(Phase::Debrief);
    assert_eq!(bench.runner.score().unwrap().verdict, Verdict::Timeout);
    let standing = bench.runner.standing().unwrap();
    assert_eq!(
        standing.life.moments.ended.unwrap() - standing.life.moments.broken.unwrap(),
        30 * 60_000
    );
}

#[test]
fn a_bad_fix_does_not_hold_and_the_time_goes_on() {
    let mut bench = Bench::investigating();
    bench.say(right());
    Bench::block_on(bench.lab.restart("api@1")).unwrap();
    bench.say(Command::Submit);
    bench.until(Phase::Investigating);
    assert!(
        bench
            .texts()
            .iter()
            .any(|text| text.contains("not-repaired") && text.contains("latency")),
        "{:#?}",
        bench.texts()
    );
    // One that holds for a while only is none, either.
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    for _ in 0..30 {
        bench.tick();
    }
    assert_eq!(bench.runner.phase(), Some(Phase::Verifying));
    bench.lab.with(|lab| lab.configured.clear());
    bench.tick();
    assert_eq!(bench.runner.phase(), Some(Phase::Investigating));
    assert_eq!(bench.runner.standing().unwrap().life.submissions, 2);
}

#[test]
fn a_shortcut_makes_it_void() {
    let mut bench = Bench::investigating();
    bench.say(right());
    bench.repair();
    bench.lab.with(|lab| {
        lab.shortcuts = vec![(Shortcut::TrafficShed, "the gateway refuses".to_owned())];
    });
    bench.tick();
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    let score = bench.runner.score().unwrap();
    assert_eq!(score.verdict, Verdict::Fail);
    assert_eq!(score.shortcuts, [Shortcut::TrafficShed]);
}

#[test]
fn a_fault_that_is_gone_is_the_labs_failure_and_no_repair() {
    let mut bench = Bench::investigating();
    bench.say(right());
    // The injector has begun anew, or somebody has cleared it.
    bench.lab.with(|lab| lab.faults.clear());
    bench.say(Command::Submit);
    bench.until(Phase::Resetting);
    let outcome = bench.runner.outcome();
    assert!(
        matches!(outcome, Some(Outcome::LabError { reason }) if reason.contains("in force no longer")),
        "{outcome:?}"
    );
    // Which fault it was is not told.
    let told = bench.texts().join("\n");
    assert!(!told.contains("bursts"), "{told}");
    bench.until_closed();
}

#[test]
fn what_cannot_be_looked_at_for_a_moment_is_nobodys_failure() {
    let mut bench = Bench::investigating();
    bench.say(right());
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    bench.tick();
    bench.lab.with(|lab| lab.fails = Some("check"));
    for _ in 0..30 {
        bench.tick();
    }
    assert_eq!(bench.runner.phase(), Some(Phase::Verifying));
    bench.lab.with(|lab| lab.fails = None);
    bench.until(Phase::Debrief);
    assert_eq!(bench.runner.score().unwrap().verdict, Verdict::Pass);
    // For long, it is the lab's.
    let mut bench = Bench::investigating();
    bench.say(right());
    bench.say(Command::Submit);
    bench.lab.with(|lab| lab.fails = Some("check"));
    bench.until(Phase::Resetting);
    assert!(matches!(
        bench.runner.outcome(),
        Some(Outcome::LabError { .. })
    ));
}

#[test]
fn nobody_gets_time_by_submitting_again_and_again() {
    let mut bench = Bench::investigating();
    bench.say(right());
    let until_ms = bench.runner.standing().unwrap().until_ms.unwrap();
    bench.now_ms = until_ms + 1;
    let refusal = bench.tell(Command::Submit).unwrap_err().to_string();
    assert!(refusal.contains("the incident is over"), "{refusal}");
    assert_eq!(bench.runner.score().unwrap().verdict, Verdict::Timeout);
}

#[test]
fn a_session_that_is_gone_with_the_controller_ends_the_run() {
    let mut bench = Bench::new();
    bench.holds = true;
    bench.crash(false);
    bench.say(Command::Start {
        id: "a-drill".to_owned(),
        seed: 7,
    });
    bench.until(Phase::Investigating);
    assert_eq!(bench.lab.with(|lab| lab.held), 1);
    bench.crash(false);
    assert_eq!(bench.runner.phase(), Some(Phase::Resetting));
    bench.until_closed();
    bench.lab.with(|lab| lab.assert_clean());
}

#[test]
fn what_is_usual_outlives_the_controller() {
    let mut bench = Bench::investigating();
    bench.lab.with(|lab| lab.usual.clear());
    bench.crash(false);
    assert_eq!(bench.lab.with(|lab| lab.usual.clone()), "as it was");
}

#[test]
fn a_learner_knows_what_it_may_until_the_end() {
    let mut bench = Bench::investigating();
    bench.say(Command::Hint);
    for _ in 0..400 {
        bench.tick();
    }
    let told = bench.texts().join("\n");
    for part in ["spinner", "Any news?", "Are all instances", "investigating"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for part in ["bursts", "packet-loss", "DROP INDEX"] {
        assert!(!told.contains(part), "{part}: {told}");
    }
    bench.say(Command::GiveUp);
    assert!(bench.texts().join("\n").contains("packet-loss"));
}

#[test]
fn a_machine_without_what_it_needs_refuses_a_drill_with_the_reason() {
    let mut bench = Bench::new();
    bench.lab.with(|lab| lab.lacks = Some("cgroup-skb"));
    let start = Command::Start {
        id: "a-drill".to_owned(),
        seed: 1,
    };
    let refusal = bench.tell(start).unwrap_err().to_string();
    assert!(
        refusal.contains("cannot do `a-drill`: cgroup-skb: it is not there"),
        "{refusal}"
    );
    bench.lab.with(|lab| lab.assert_clean());
    assert!(bench.runner.outcome().is_none());
}

#[test]
fn what_is_said_at_the_wrong_time_is_refused_in_words() {
    let mut bench = Bench::new();
    let said = |bench: &mut Bench, command| bench.tell(command).unwrap_err().to_string();
    assert!(said(&mut bench, Command::Submit).contains("no drill goes on"));
    let unknown = Command::Start {
        id: "b".to_owned(),
        seed: 1,
    };
    assert!(said(&mut bench, unknown).contains("there are a-drill"));
    let mut bench = Bench::started();
    assert!(said(&mut bench, Command::Hint).contains("still being prepared"));
    let again = Command::Start {
        id: "a-drill".to_owned(),
        seed: 1,
    };
    assert!(said(&mut bench, again).contains("goes on already"));
    bench.until(Phase::Investigating);
    assert!(said(&mut bench, Command::Submit).contains("say what is wrong"));
    for _ in 0..3 {
        bench.say(Command::Hint);
    }
    assert!(said(&mut bench, Command::Hint).contains("no more hints"));
    let forged = Command::Did(Happened::Submitted);
    assert!(said(&mut bench, forged).contains("not something that a learner does"));
}

#[test]
fn a_lab_that_cannot_do_its_part_is_nobodys_score() {
    for (fails, reason) in [
        ("inject", "inject"),
        ("begin_load", "begin_load"),
        ("act", "nobody would notice"),
        ("baseline", "the lab is not healthy"),
    ] {
        let mut bench = Bench::new();
        bench.lab.with(|lab| lab.fails = Some(fails));
        bench.say(Command::Start {
            id: "a-drill".to_owned(),
            seed: 7,
        });
        bench.until(Phase::Resetting);
        let outcome = bench.runner.outcome().cloned();
        assert!(
            matches!(&outcome, Some(Outcome::LabError { reason: told }) if told.contains(reason)),
            "{fails}: {outcome:?}"
        );
        bench.lab.with(|lab| lab.fails = None);
        bench.until_closed();
        bench.lab.with(|lab| lab.assert_clean());
    }
}

#[test]
fn a_reset_that_fails_is_tried_again_and_nothing_is_forgotten() {
    let mut bench = Bench::investigating();
    bench.lab.with(|lab| lab.fails = Some("reset"));
    bench.say(Command::Abort);
    for _ in 0..10 {
        bench.tick();
    }
    assert_eq!(bench.runner.phase(), Some(Phase::Resetting));
    bench.crash(false);
    bench.lab.with(|lab| lab.fails = None);
    bench.until_closed();
    bench.lab.with(|lab| lab.assert_clean());
}

#[test]
fn a_controller_that_was_killed_goes_on_with_the_learners_time() {
    let mut bench = Bench::investigating();
    bench.say(right());
    let before = bench.runner.standing().unwrap();
    bench.crash(false);
    let after = bench.runner.standing().unwrap();
    assert_eq!(before.until_ms, after.until_ms);
    assert!(after.is_diagnosed);
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    assert_eq!(bench.runner.score().unwrap().verdict, Verdict::Pass);
    // What happened before it was killed is still there.
    assert!(bench.texts().join("\n").contains("diagnosed"));
}

#[test]
fn a_scenario_that_is_gone_takes_the_lab_back() {
    let mut bench = Bench::investigating();
    let store = Store::open(&bench.directory.path().join("drills.db")).unwrap();
    bench.runner = Runner::open(
        bench.lab.clone(),
        store,
        Library::new(),
        Mode::Open,
        bench.now_ms,
        false,
    )
    .unwrap();
    bench.until_closed();
    bench.lab.with(|lab| lab.assert_clean());
}

#[test]
fn the_same_seed_does_the_same_at_the_same_times() {
    let done = || {
        let mut bench = Bench::investigating();
        bench.until(Phase::Debrief);
        let (_, entries) = bench.runner.public_entries(0).unwrap();
        let times: Vec<(u64, String)> = entries
            .into_iter()
            .filter(|entry| matches!(entry.what, Happened::Did { .. } | Happened::Told { .. }))
            .map(|entry| (entry.at_ms, format!("{:?}", entry.what)))
            .collect();
        times
    };
    let (one, other) = (done(), done());
    assert!(one.len() > 10, "{one:?}");
    assert_eq!(one, other);
}

#[derive(Clone, Debug)]
enum Move {
    Ticks(u32),
    Crash(bool),
    Say(u8),
    Fail(bool),
    Repair,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1_u32..80).prop_map(Move::Ticks),
        1 => any::<bool>().prop_map(Move::Crash),
        2 => (0_u8..7).prop_map(Move::Say),
        1 => any::<bool>().prop_map(Move::Fail),
        1 => Just(Move::Repair),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is said and done, and whenever the controller or the machine dies: an abort brings the lab back to where it was.
    #[test]
    fn an_abort_at_any_moment_leaves_the_baseline(moves in proptest::collection::vec(a_move(), 0..25)) {
        let mut bench = Bench::started();
        for one in moves {
            match one {
                Move::Ticks(count) => (0..count).for_each(|_| bench.tick()),
                Move::Crash(rebooted) => bench.crash(rebooted),
                Move::Fail(is_failing) => bench.lab.with(|lab| lab.fails = is_failing.then_some("reset")),
                // Outside of a run it is nobody's to take back.
                Move::Repair if bench.runner.phase().is_none() => {}
                Move::Repair => bench.repair(),
                Move::Say(which) => {
                    let command = match which {
                        0 => Command::Hint,
                        1 => Command::Submit,
                        2 => Command::GiveUp,
                        3 => Command::Abort,
                        4 => Command::Reset,
                        5 => Command::Start { id: "a-drill".to_owned(), seed: 3 },
                        _ => right(),
                    };
                    let _ = bench.tell(command);
                }
            }
        }
        bench.lab.with(|lab| lab.fails = None);
        let _ = bench.tell(Command::Abort);
        bench.until_closed();
        bench.lab.with(|lab| lab.assert_clean());
        // And it can begin again.
        bench.say(Command::Start { id: "a-drill".to_owned(), seed: 1 });
        bench.until(Phase::Investigating);
    }
}

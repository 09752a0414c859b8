//! A controller, or a machine, that ends while a drill goes on.

use proptest::prelude::*;

use super::*;

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
fn a_controller_that_was_killed_goes_on_with_the_learners_time() {
    let mut bench = Bench::investigating();
    bench.say(right());
    let before = bench.runner.standing(Reader::Learner).unwrap();
    bench.crash(false);
    let after = bench.runner.standing(Reader::Learner).unwrap();
    assert_eq!(before.until_ms, after.until_ms);
    assert!(after.is_diagnosed);
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Pass
    );
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

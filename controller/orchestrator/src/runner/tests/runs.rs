//! Runs from their beginning to their end.

use super::*;

#[test]
fn the_reference_solution_passes_and_the_lab_is_as_it_was() {
    let mut bench = Bench::investigating();
    assert!(bench.lab.with(|lab| lab.is_broken() && lab.load.is_some()));
    bench.say(right());
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    let score = bench.runner.score(Reader::Learner).unwrap();
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
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Timeout
    );
    let standing = bench.runner.standing(Reader::Learner).unwrap();
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
    bench.assert_not_repaired("latency");
    // One that holds for a while only is none, either.
    bench.repair();
    bench.tick();
    bench.say(Command::Submit);
    for _ in 0..50 {
        bench.tick();
    }
    assert_eq!(bench.runner.phase(), Some(Phase::Verifying));
    bench.lab.with(|lab| lab.configured.clear());
    bench.tick();
    assert_eq!(bench.runner.phase(), Some(Phase::Investigating));
    assert_eq!(
        bench
            .runner
            .standing(Reader::Learner)
            .unwrap()
            .life
            .submissions,
        2
    );
}

#[test]
fn a_repair_may_waver_while_what_is_measured_looks_back() {
    let mut bench = Bench::investigating();
    bench.say(right());
    bench.repair();
    bench.say(Command::Submit);
    for _ in 0..10 {
        bench.tick();
    }
    bench.lab.with(|lab| lab.configured.clear());
    bench.tick();
    assert_eq!(bench.runner.phase(), Some(Phase::Verifying));
    let wavered_ms = bench.now_ms;
    bench.repair();
    bench.until(Phase::Debrief);
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Pass
    );
    // It has to hold for its whole time after that.
    let moments = bench.runner.standing(Reader::Learner).unwrap().life.moments;
    assert!(moments.holds_since.unwrap() > wavered_ms, "{moments:?}");
    assert!(moments.ended.unwrap() - wavered_ms >= 30_000, "{moments:?}");
}

#[test]
fn a_repair_that_costs_orders_is_none() {
    let mut bench = Bench::investigating();
    bench.say(right());
    bench.repair();
    bench
        .lab
        .with(|lab| lab.invariants = vec!["2 orders are not there".to_owned()]);
    bench.say(Command::Submit);
    bench.until(Phase::Investigating);
    bench.assert_not_repaired("2 orders are not there");
    bench.lab.with(|lab| lab.invariants.clear());
    bench.say(Command::Submit);
    bench.until(Phase::Debrief);
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Pass
    );
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
    let score = bench.runner.score(Reader::Learner).unwrap();
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
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Pass
    );
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
fn the_same_seed_does_the_same_at_the_same_times() {
    let done = || {
        let mut bench = Bench::investigating();
        bench.until(Phase::Debrief);
        let (_, entries) = bench.runner.public_entries(0, Reader::Learner).unwrap();
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

#[test]
fn what_was_not_scored_is_exported_without_points() {
    let mut bench = Bench::investigating();
    bench.say(Command::Hint);
    assert_eq!(bench.runner.export(0, 0, 10).unwrap(), [], "it goes on");
    bench.tell_as(Reader::Teacher, Command::Abort).unwrap();
    bench.until_closed();
    bench.lab.with(|lab| lab.fails = Some("inject"));
    let start = Command::Start {
        id: "a-drill".to_owned(),
        seed: 9,
    };
    bench.tell_as(Reader::Teacher, start).unwrap();
    bench.until(Phase::Resetting);
    bench.until_closed();
    let records = bench.runner.export(0, 0, 10).unwrap();
    assert_eq!(records.len(), 2);
    let (aborted, failed) = (&records[0], &records[1]);
    assert_eq!((aborted.verdict, failed.verdict), ("aborted", "lab-error"));
    assert_eq!(
        (aborted.begun_by, failed.begun_by),
        (Reader::Learner, Reader::Teacher)
    );
    assert_eq!((aborted.hints, aborted.mode), (1, Some(Mode::Assessed)));
    assert_eq!(
        (aborted.score, aborted.points.len(), aborted.due),
        (None, 0, None)
    );
    assert!(aborted.ended_ms > Some(aborted.began_ms));
    assert_eq!(
        bench.runner.export(aborted.run, 0, 10).unwrap(),
        records[1..]
    );
    assert_eq!(
        bench.runner.export(0, failed.began_ms, 10).unwrap(),
        records[1..]
    );
}

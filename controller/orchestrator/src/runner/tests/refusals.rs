//! What learners are told, and what they are refused.

use super::*;

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
fn a_machine_with_too_little_memory_refuses_a_drill_with_both_figures() {
    let mut bench = Bench::new();
    let mut scenario = Scenario::clone(&bench.runner.library["a-drill"]);
    scenario.brief.needs.memory_mib = 2048;
    bench
        .runner
        .library
        .insert("a-drill".to_owned(), Arc::new(scenario));
    let start = || Command::Start {
        id: "a-drill".to_owned(),
        seed: 1,
    };
    bench.lab.with(|lab| {
        lab.memory_mib = Some(2047);
        lab.lacks = Some("cgroup-skb");
    });
    let refusal = bench.tell(start()).unwrap_err().to_string();
    // Everything that is lacking, at once.
    for part in [
        "memory: it has 2047 MiB, 2048 MiB are needed",
        "cgroup-skb: it is not there",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert!(bench.runner.phase().is_none());
    bench.lab.with(|lab| lab.assert_clean());
    bench.lab.with(|lab| {
        lab.lacks = None;
        lab.fails = Some("memory");
    });
    assert!(matches!(bench.tell(start()), Err(Refusal::Lab(_))));
    bench.lab.with(|lab| {
        lab.fails = None;
        lab.memory_mib = Some(2048);
    });
    bench.say(start());
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
fn nobody_gets_time_by_submitting_again_and_again() {
    let mut bench = Bench::investigating();
    bench.say(right());
    let until_ms = bench
        .runner
        .standing(Reader::Learner)
        .unwrap()
        .until_ms
        .unwrap();
    bench.now_ms = until_ms + 1;
    let refusal = bench.tell(Command::Submit).unwrap_err().to_string();
    assert!(refusal.contains("the incident is over"), "{refusal}");
    assert_eq!(
        bench.runner.score(Reader::Learner).unwrap().verdict,
        Verdict::Timeout
    );
}

/// Takes the drill until its learner gives up, and goes back to the baseline.
fn taken(bench: &mut Bench, by: Reader) -> i64 {
    let start = Command::Start {
        id: "a-drill".to_owned(),
        seed: 7,
    };
    bench.tell_as(by, start).unwrap();
    bench.until(Phase::Investigating);
    let run = bench.runner.standing(Reader::Learner).unwrap().run;
    for command in [Command::Hint, right(), Command::GiveUp] {
        if by == Reader::Teacher {
            let others = bench.tell(command.clone());
            assert!(
                matches!(others, Err(Refusal::NotTheirs)),
                "{command:?}: {others:?}"
            );
        }
        bench.tell_as(by, command).unwrap();
        // What an instructor has said of the answer is not told while it goes on, either.
        let told = bench.texts().join("\n");
        assert_eq!(
            told.contains("Are all instances") || told.contains("packet-loss"),
            by == Reader::Learner,
            "{told}"
        );
    }
    let score = bench.runner.score(Reader::Learner).unwrap();
    assert_eq!(score.parts.is_empty(), by == Reader::Teacher, "{score:?}");
    bench.tell_as(by, Command::Reset).unwrap();
    bench.until_closed();
    run
}

#[test]
fn an_answer_that_is_known_is_not_told_to_who_looks_for_it() {
    let mut bench = Bench::new();
    let (own, others) = (
        taken(&mut bench, Reader::Learner),
        taken(&mut bench, Reader::Teacher),
    );
    let tells = |bench: &Bench, run, reader| bench.runner.report(run, reader).unwrap().is_some();
    let explains = |bench: &Bench, reader| {
        let runs = bench.runner.history(10, reader).unwrap();
        let explains = |run: i64| {
            let past = runs.iter().find(|past| past.run == run).unwrap();
            !past.score.as_ref().unwrap().parts.is_empty()
        };
        (explains(own), explains(others))
    };
    assert!(tells(&bench, Some(own), Reader::Learner));
    assert!(!tells(&bench, Some(others), Reader::Learner));
    assert_eq!(explains(&bench, Reader::Learner), (true, false));
    // The last run was not the learner's: its entries do not tell what was done.
    assert!(!bench.texts().join("\n").contains("packet-loss"));
    bench.say(Command::Start {
        id: "a-drill".to_owned(),
        seed: 8,
    });
    bench.until(Phase::Investigating);
    assert!(!tells(&bench, Some(own), Reader::Learner));
    assert_eq!(explains(&bench, Reader::Learner), (false, false));
    for run in [own, others] {
        assert!(tells(&bench, Some(run), Reader::Teacher));
    }
    assert_eq!(explains(&bench, Reader::Teacher), (true, true));
    bench.say(Command::GiveUp);
    assert!(tells(&bench, None, Reader::Learner));
}

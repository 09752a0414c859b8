//! The drills as they are told, with what was made of them.

use super::*;

/// Takes a drill to its end, well or not.
fn taken(bench: &mut Bench, by: Reader, id: &str, is_repaired: bool) {
    let start = Command::Start {
        id: id.to_owned(),
        seed: 7,
    };
    bench.tell_as(by, start).unwrap();
    bench.until(Phase::Investigating);
    bench.tell_as(by, right()).unwrap();
    if is_repaired {
        bench.repair();
        bench.tick();
        bench.tell_as(by, Command::Submit).unwrap();
    } else {
        bench.tell_as(by, Command::GiveUp).unwrap();
    }
    bench.until(Phase::Debrief);
    bench.tell_as(by, Command::Reset).unwrap();
    bench.until_closed();
}

#[test]
fn a_drill_is_offered_with_its_history_and_what_comes_before_it() {
    let mut bench = Bench::new();
    let files = template::named("before").unwrap();
    let before = Scenario::read(&files.brief, &files.sealed).unwrap();
    let after = template::named("after").unwrap();
    let brief = after
        .brief
        .replace("prerequisites: []", "prerequisites: [before, a-drill]");
    let after = Scenario::read(&brief, &after.sealed).unwrap();
    let library = &mut bench.runner.library;
    library.insert("before".to_owned(), Arc::new(before));
    library.insert("after".to_owned(), Arc::new(after));
    let offered = |bench: &Bench, reader, id: &str| {
        let mut offers = bench.runner.offers(reader).unwrap().into_iter();
        offers.find(|offer| *offer.brief.id == id).unwrap()
    };
    let offer = offered(&bench, Reader::Learner, "after");
    assert_eq!(offer.history, Attempts::default());
    assert_eq!(offer.missing, ["before", "a-drill"]);
    assert_eq!(offer.place, 3);
    assert_eq!(offered(&bench, Reader::Learner, "before").place, 2);

    taken(&mut bench, Reader::Learner, "a-drill", true);
    let passed = offered(&bench, Reader::Learner, "a-drill").history;
    assert!(passed.passed && passed.attempts == 1, "{passed:?}");
    assert!(passed.best > Some(95.0), "{passed:?}");
    // A later one that is worth less takes nothing away.
    taken(&mut bench, Reader::Learner, "a-drill", false);
    let twice = offered(&bench, Reader::Learner, "a-drill").history;
    assert_eq!(
        twice,
        Attempts {
            attempts: 2,
            ..passed
        }
    );
    // What was not passed was tried; what somebody else has passed was not by this one.
    taken(&mut bench, Reader::Learner, "before", false);
    taken(&mut bench, Reader::Teacher, "before", true);
    let before = offered(&bench, Reader::Learner, "before").history;
    assert!(
        !before.passed && before.attempts == 1 && before.best.is_some(),
        "{before:?}"
    );
    assert_eq!(
        offered(&bench, Reader::Learner, "after").missing,
        ["before"]
    );
    assert_eq!(
        offered(&bench, Reader::Teacher, "after").missing,
        ["a-drill"]
    );
    // An attempt that nobody has scored is none.
    bench.say(Command::Start {
        id: "before".to_owned(),
        seed: 1,
    });
    bench.say(Command::Abort);
    bench.until_closed();
    assert_eq!(
        offered(&bench, Reader::Learner, "before").history.attempts,
        1
    );
    // It is no wall.
    bench.say(Command::Start {
        id: "after".to_owned(),
        seed: 1,
    });
}

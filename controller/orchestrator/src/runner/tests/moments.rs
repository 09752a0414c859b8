//! The drills that come with the lab, ended at random moments in every way there is: the lab is at its baseline afterwards.

use std::path::PathBuf;

use observastack_spec::scenario::action::Action;

use super::*;

/// Moments of each drill.
const MOMENTS: u64 = 24;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn drills() -> Library {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let (library, left) = crate::library::read(&[PathBuf::from(folder)]);
    assert!(left.is_empty() && library.len() >= 9, "{left:?}");
    library
}

/// A lab that these drills break, whatever they do to it.
fn bench(drills: &Library) -> Bench {
    let mut bench = Bench::new();
    bench.drills = Some(drills.clone());
    let steps = drills.values().flat_map(|one| &one.sealed.steps.value);
    let undoes = steps.filter_map(|step| match &step.action.value {
        Action::Sql(sql) => Some((sql.undo.value.clone(), sql.statements.value.clone())),
        _ => None,
    });
    bench.lab.with(|lab| {
        lab.is_fragile = true;
        lab.undoes = undoes.collect();
    });
    bench.crash(false);
    bench
}

fn start(bench: &mut Bench, id: &str, seed: u64) {
    bench.say(Command::Start {
        id: id.to_owned(),
        seed,
    });
}

/// Something that a learner may do, whether it comes to anything or not. Outside of the incident it is nobody's to take back.
fn live(bench: &mut Bench, chance: &mut Chance) {
    let is_theirs = matches!(
        bench.runner.phase(),
        Some(Phase::Investigating | Phase::Verifying | Phase::Debrief)
    );
    match chance.below(7) {
        0 if is_theirs => bench.lab.with(|lab| lab.is_repaired = true),
        1 if is_theirs => bench.lab.with(|lab| {
            lab.stopped.insert("api@2".to_owned());
        }),
        2 if is_theirs => bench.lab.with(|lab| {
            lab.configured.insert("api@1".to_owned(), "more".to_owned());
        }),
        3 => drop(bench.tell(Command::Hint)),
        4 => drop(bench.tell(right())),
        5 => drop(bench.tell(Command::Submit)),
        _ => bench.crash(chance.below(3) == 0),
    }
}

/// Ends what goes on in one of the ways; which.
fn end(bench: &mut Bench, chance: &mut Chance) -> &'static str {
    let way = match chance.below(6) {
        0 => "abort",
        1 => {
            drop(bench.tell(Command::GiveUp));
            drop(bench.tell(Command::Reset));
            "give up and reset"
        }
        2 => {
            drop(bench.tell(Command::Reset));
            "reset"
        }
        3 => {
            bench.crash(false);
            "the controller's end"
        }
        4 => {
            bench.crash(true);
            "the machine's end"
        }
        _ => {
            bench.lab.with(|lab| lab.fails = Some("reset"));
            drop(bench.tell(Command::Abort));
            for _ in 0..chance.below(5) {
                bench.tick();
            }
            bench.crash(false);
            bench.lab.with(|lab| lab.fails = None);
            "a reset that fails, and the controller's end"
        }
    };
    // What goes on all the same; and what goes back already has no place for it.
    drop(bench.tell(Command::Abort));
    way
}

#[test]
fn a_drill_that_ends_at_any_moment_leaves_the_baseline() {
    let drills = drills();
    let mut seen = std::collections::BTreeMap::new();
    for (number, id) in (0..).zip(drills.keys()) {
        let mut bench = bench(&drills);
        for moment in 0..MOMENTS {
            let mut chance = Chance(number * 1_000 + moment);
            start(&mut bench, id, chance.below(1_000));
            // Soon, before it is broken, in the middle, or near the end of the learner's time.
            let most = [8, 60, 600, 4_000][usize::try_from(moment % 4).unwrap()];
            let mut slices = 0;
            for _ in 0..chance.below(most) {
                // It may have ended by itself.
                if bench.runner.phase().is_none() {
                    break;
                }
                slices += 1;
                bench.tick();
                if chance.below(most / 4 + 1) == 0 {
                    live(&mut bench, &mut chance);
                }
            }
            let phase = bench.runner.phase();
            *seen.entry(format!("{phase:?}")).or_insert(0) += 1;
            let way = end(&mut bench, &mut chance);
            let context =
                format!("{id}, moment {moment}: {way} in {phase:?} after {slices} slices");
            for _ in 0..200 {
                if bench.runner.phase().is_none() {
                    break;
                }
                bench.tick();
            }
            assert_eq!(bench.runner.phase(), None, "{context}");
            let is_clean = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                bench.lab.with(|lab| lab.assert_clean());
            }));
            assert!(is_clean.is_ok(), "{context}");
            let store = &bench.runner.store;
            assert!(store.open_run::<Saved>().unwrap().is_none(), "{context}");
            assert_eq!(store.undo().unwrap(), [], "{context}");
            let last = &store.history(1).unwrap()[0];
            let kept: Saved = store.run(last.run).unwrap().unwrap();
            assert!(!last.is_open && kept.life.is_over(), "{context}");
            assert!(kept.life.outcome.is_some(), "{context}");
            assert!(kept.faults.is_empty(), "{context}");
        }
        // It is a drill in this lab, and can begin again.
        start(&mut bench, id, 1);
        bench.until(Phase::Investigating);
        bench.say(Command::Abort);
        bench.until_closed();
    }
    let ended: u64 = seen
        .iter()
        .filter(|(phase, _)| *phase != "None")
        .map(|(_, count)| *count)
        .sum();
    assert!(ended >= 100, "{seen:?}");
    // No phase was left out.
    for phase in [
        "Preparing",
        "Breaking",
        "Investigating",
        "Verifying",
        "Debrief",
    ] {
        assert!(
            seen.contains_key(&format!("Some({phase})")),
            "{phase}: {seen:?}"
        );
    }
}

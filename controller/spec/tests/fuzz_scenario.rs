//! Scenarios that are almost ones: every file of `controller/scenarios` and `controller/drafts`, changed at random. The same case is the same text.
//!
//! `OBSERVASTACK_FUZZ_CASES=200000` tries more than the usual 20,000, `OBSERVASTACK_FUZZ_CASE=1234` one alone, which a failure names.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use observastack_spec::scenario::{
    Part, Scenario,
    plan::{Moment, plan},
};

const CASES: u64 = 20_000;
/// Far more than any text takes; a bomb takes minutes.
const LONGEST: Duration = Duration::from_secs(5);
/// 200 steps, and 20 kinds of noise, every five seconds for four hours.
const MOST_ENTRIES: usize = 200 + 20 * 4 * 3600 / 5;
const SEEDS: [u64; 3] = [0, 7, u64::MAX];

/// Numbers and times at and beyond the ends of what is usual.
const EXTREMES: [&str; 20] = [
    "0",
    "-1",
    "1",
    "-0.0",
    "0.5",
    "1e309",
    "1e-320",
    ".nan",
    ".inf",
    "NaN",
    "4294967296",
    "18446744073709551616",
    "0x7fffffffffffffff",
    "1_000",
    "099",
    "0s",
    "1ns",
    "584942417355y",
    "18446744073709551615s",
    "-1s",
];
/// What means something to a YAML parser.
const MARKS: [&str; 30] = [
    "&a ",
    "*a",
    "*b",
    "!!str ",
    "!!binary ",
    "!!int ",
    "!<tag:x> ",
    "<<: *a",
    "? ",
    ": ",
    "- ",
    "| ",
    "> ",
    "|+9\n",
    "'",
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    ",",
    "#",
    "@",
    "`",
    "%YAML 9.9\n",
    "---\n",
    "...\n",
    "~",
    "null",
];
const CHARACTERS: [char; 16] = [
    '\0',
    '\t',
    '\r',
    '\n',
    ' ',
    '\u{85}',
    '\u{a0}',
    '\u{2028}',
    '\u{feff}',
    '\u{fffd}',
    '\u{10ffff}',
    'é',
    '漢',
    '🦀',
    '\u{7f}',
    '\u{1b}',
];

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a bound; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Both files of each scenario, and every word of them.
struct Corpus {
    scenarios: Vec<[String; 2]>,
    words: Vec<String>,
}

impl Corpus {
    fn read() -> Self {
        let mut scenarios = Vec::new();
        for folder in ["scenarios", "drafts"] {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(folder);
            let mut folders: Vec<PathBuf> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir())
                .collect();
            folders.sort_unstable();
            for folder in folders {
                let text = |part: Part| fs::read_to_string(folder.join(part.file_name())).unwrap();
                scenarios.push([text(Part::Brief), text(Part::Sealed)]);
            }
        }
        let words: BTreeSet<String> = scenarios
            .iter()
            .flatten()
            .flat_map(|text| words(text))
            .map(|(from, to, text)| text[from..to].to_owned())
            .collect();
        Self {
            scenarios,
            words: words.into_iter().collect(),
        }
    }
}

/// Where words, names and numbers are.
fn words(text: &str) -> Vec<(usize, usize, &str)> {
    let is_part = |character: char| character.is_alphanumeric() || "-_@.%".contains(character);
    let mut found = Vec::new();
    let mut begun = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_part(character), begun) {
            (true, None) => begun = Some(at),
            (false, Some(from)) => {
                found.push((from, at, text));
                begun = None;
            }
            _ => {}
        }
    }
    found
}

fn place(text: &str, chance: &mut Chance) -> usize {
    let mut at = chance.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A value's place: behind a colon or a dash.
fn value(text: &str, chance: &mut Chance) -> usize {
    let from = place(text, chance);
    text[from..].find(": ").map_or(from, |at| from + at + 2)
}

fn changed(text: &str, corpus: &Corpus, chance: &mut Chance) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let line = chance.below(lines.len());
    match chance.below(17) {
        0 if !lines.is_empty() => drop(lines.remove(line)),
        1 if !lines.is_empty() => lines.insert(line, lines[line].clone()),
        2 if !lines.is_empty() => {
            let other = chance.below(lines.len());
            lines.swap(line, other);
        }
        3 if !lines.is_empty() => {
            let stripped = lines[line].trim_start_matches(' ').to_owned();
            lines[line] = " ".repeat(chance.below(12)) + &stripped;
        }
        // Lines to somewhere else, as whoever writes moves them.
        4 if !lines.is_empty() => {
            let moved: Vec<String> = lines
                .drain(line..(line + 1 + chance.below(6)).min(lines.len()))
                .collect();
            let to = chance.below(lines.len() + 1);
            lines.splice(to..to, moved);
        }
        5 => {
            let (from, to) = (place(text, chance), place(text, chance));
            return text[..from.min(to)].to_owned() + &text[from.max(to)..];
        }
        6 => {
            let at = place(text, chance);
            let rest = text[at..].chars().next().map_or(0, char::len_utf8);
            return format!(
                "{}{}{}",
                &text[..at],
                chance.one(&CHARACTERS),
                &text[at + rest..]
            );
        }
        7 => {
            // A bit of a byte; what is no UTF-8 then is not read by anybody.
            let mut bytes = text.as_bytes().to_vec();
            let at = chance.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        8 => {
            let other = chance.one(&corpus.scenarios);
            let other = &other[chance.below(2)];
            let (from, to) = (place(text, chance), place(other, chance));
            return text[..from].to_owned() + &other[to..];
        }
        9 | 10 => {
            let all = words(text);
            if !all.is_empty() {
                let (from, to, _) = *chance.one(&all);
                let word = match chance.below(2) {
                    0 => (*chance.one(&EXTREMES)).to_owned(),
                    _ => chance.one(&corpus.words).clone(),
                };
                return text[..from].to_owned() + &word + &text[to..];
            }
        }
        11 => {
            let numbers: Vec<_> = words(text)
                .into_iter()
                .filter(|(from, ..)| {
                    text[*from..].starts_with(|first: char| first.is_ascii_digit())
                })
                .collect();
            if !numbers.is_empty() {
                let (from, to, _) = *chance.one(&numbers);
                return text[..from].to_owned() + *chance.one(&EXTREMES) + &text[to..];
            }
        }
        12 => {
            let at = if chance.below(2) == 0 {
                value(text, chance)
            } else {
                place(text, chance)
            };
            return text[..at].to_owned() + *chance.one(&MARKS) + &text[at..];
        }
        13 => {
            let depth = 1 << chance.below(14);
            let (open, close) = *chance.one(&[
                ("[", "]"),
                ("{a: ", "}"),
                ("- ", ""),
                ("? ", ""),
                ("!!seq [", "]"),
            ]);
            let at = value(text, chance);
            return text[..at].to_owned()
                + &open.repeat(depth)
                + "x"
                + &close.repeat(depth)
                + &text[at..];
        }
        14 => {
            let at = value(text, chance);
            let long = ["x", "é", "\\", " ", "\n", "- a\n", "a: b\n", "'"];
            let length = 1 << chance.below(18);
            return text[..at].to_owned() + &chance.one(&long).repeat(length) + &text[at..];
        }
        15 => {
            // Each level has the one before it nine times.
            let mut bomb = String::from("bomb:\n  - &b0 [x, x, x, x, x, x, x, x, x]\n");
            let levels = 1 + chance.below(12);
            for level in 1..=levels {
                let below = format!("*b{}", level - 1);
                bomb += &format!("  - &b{level} [{}]\n", [below.as_str(); 9].join(", "));
            }
            let field = ["objectives", "briefing", "title", "steps", "debrief"];
            let field = *chance.one(&field);
            return match chance.below(2) {
                0 => bomb + text,
                _ => text.replacen(
                    &format!("\n{field}:"),
                    &format!("\n{bomb}{field}: *b{levels}\nold:"),
                    1,
                ),
            };
        }
        // Twice the same, as a merge leaves it.
        _ => return text.to_owned() + &text[place(text, chance)..],
    }
    lines.concat()
}

fn case(number: u64, corpus: &Corpus) -> [String; 2] {
    let mut chance = Chance(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut texts = chance.one(&corpus.scenarios).clone();
    // Mostly one thing at a time: what is read has to be near enough to be planned.
    let changes = 1 + chance.below(2) * chance.below(5);
    for _ in 0..changes {
        let part = chance.below(3).min(1);
        texts[part] = changed(&texts[part], corpus, &mut chance);
    }
    texts
}

/// Characters of each line, as YAML 1.2 ends them.
fn lengths(text: &str) -> Vec<usize> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split('\n').map(|line| line.chars().count()).collect()
}

/// Whether it was a scenario.
fn try_it([brief, sealed]: &[String; 2]) -> bool {
    let begun = Instant::now();
    let read = Scenario::read(brief, sealed);
    let took = begun.elapsed();
    assert!(took < LONGEST, "it took {took:?}");
    match read {
        Ok(scenario) => {
            for seed in SEEDS {
                let planned = plan(&scenario, seed);
                assert!(!planned.to_string().is_empty() || planned.entries.is_empty());
                assert_eq!(planned, plan(&scenario, seed), "the seed {seed}");
                assert!(
                    planned.entries.len() <= MOST_ENTRIES,
                    "{}",
                    planned.entries.len()
                );
                // What comes after the learner's time never comes.
                let whole = Duration::from_secs(u64::from(*scenario.brief.minutes) * 60);
                for entry in &planned.entries {
                    let is_in_time = !matches!(&entry.moment, Moment::At(at) if at.get() >= whole);
                    assert!(is_in_time, "{entry} comes after {whole:?}");
                }
            }
            true
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for one in &errors {
                let text = if one.part == Part::Brief {
                    brief
                } else {
                    sealed
                };
                let lengths = lengths(text);
                let (line, column) = (one.error.line, one.error.column);
                // One past the end is where something is missing.
                let most = match lengths.get(line.wrapping_sub(1)) {
                    Some(length) => length + 1,
                    None => usize::from(line == lengths.len() + 1),
                };
                assert!(
                    line >= 1 && (1..=most).contains(&column),
                    "{one}: outside of its text, which has {} lines",
                    lengths.len()
                );
                assert!(!one.error.reason.trim().is_empty(), "{one:?}");
            }
            false
        }
    }
}

#[test]
fn what_is_almost_a_scenario_is_refused_in_its_place_or_planned() {
    let corpus = Corpus::read();
    assert!(corpus.scenarios.len() > 9);
    for scenario in &corpus.scenarios {
        assert!(try_it(scenario), "{}", scenario[0]);
    }
    let number = |name: &str| Some(env::var(name).ok()?.parse::<u64>().expect(name));
    if let Some(one) = number("OBSERVASTACK_FUZZ_CASE") {
        let texts = case(one, &corpus);
        println!("{}\n=====\n{}", texts[0], texts[1]);
        try_it(&texts);
        return;
    }
    let cases = number("OBSERVASTACK_FUZZ_CASES").unwrap_or(CASES);
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let corpus = &corpus;
    let accepted: u64 = thread::scope(|scope| {
        let part = |first: u64| {
            let numbers = (first..cases).step_by(usize::try_from(threads).unwrap());
            let tried = numbers.map(|number| {
                let tried = panic::catch_unwind(AssertUnwindSafe(|| try_it(&case(number, corpus))));
                u64::from(tried.unwrap_or_else(|_| panic!("OBSERVASTACK_FUZZ_CASE={number}")))
            });
            tried.sum::<u64>()
        };
        let threads: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || part(first)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    println!("{accepted} of {cases} were scenarios");
    // Otherwise nothing behind the parser was tried.
    assert!(
        accepted * 50 > cases,
        "only {accepted} of {cases} were scenarios"
    );
}

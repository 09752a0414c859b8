//! The table of what was proven, in docs/drills.md.

/// The table is between these two lines of the page.
const BEGIN: &str = "<!-- proven: written by cargo xtask test drills -->";
const END: &str = "<!-- end of what was proven -->";
const HEAD: &str = "| drill | machine | solver | seed | verdict | diagnosis | seconds | commit |\n|---|---|---|---|---|---|---|---|";

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Name and version.
    pub(super) drill: String,
    /// Kernel and kind.
    pub(super) machine: String,
    pub(super) solver: String,
    pub(super) seed: String,
    pub(super) verdict: String,
    pub(super) points: String,
    pub(super) seconds: String,
    pub(super) commit: String,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let cells: Vec<String> = cells.map(str::to_owned).collect();
        let [
            drill,
            machine,
            solver,
            seed,
            verdict,
            points,
            seconds,
            commit,
        ] = cells.try_into().ok()?;
        Some(Self {
            drill,
            machine,
            solver,
            seed,
            verdict,
            points,
            seconds,
            commit,
        })
    }

    fn line(&self) -> String {
        let Self {
            drill,
            machine,
            solver,
            seed,
            verdict,
            points,
            seconds,
            commit,
        } = self;
        format!(
            "| {drill} | {machine} | {solver} | {seed} | {verdict} | {points} | {seconds} | {commit} |"
        )
    }

    /// A drill, whatever its version, and a kind of machine, whatever its kernel's last number.
    fn of(&self) -> (&str, String, &str) {
        let drill = self.drill.split(' ').next().unwrap_or_default();
        let (kernel, kind) = self.machine.split_once(' ').unwrap_or_default();
        let series: Vec<&str> = kernel.split('.').take(2).collect();
        (drill, series.join("."), kind)
    }
}

/// The page with these rows instead of earlier ones of the same drills on the same kind of machine; nothing where it has no table.
pub(super) fn replaced(page: &str, rows: Vec<Row>) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    let is_new = |old: &Row| rows.iter().any(|new| new.of() == old.of());
    // The header's own lines have as many cells.
    let old = table.lines().filter_map(Row::parse);
    let mut all: Vec<Row> = old
        .filter(|old| old.drill != "drill" && !is_new(old))
        .collect();
    all.extend(rows.iter().cloned());
    // Stable: solvers stay in the order in which they were taken.
    all.sort_by(|a, b| a.of().cmp(&b.of()));
    let lines: Vec<String> = all.iter().map(Row::line).collect();
    Some(format!(
        "{before}{BEGIN}\n\n{HEAD}\n{}\n\n{END}{after}",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(drill: &str, machine: &str, seed: &str) -> Row {
        Row::parse(&format!(
            "| {drill} | {machine} | reference | {seed} | pass | 100 | 30 | abc |"
        ))
        .unwrap()
    }

    #[test]
    fn a_drills_rows_are_replaced_and_others_stay() {
        let page = format!("text\n{BEGIN}\n\n{HEAD}\n\n{END}\nmore");
        let page = replaced(
            &page,
            vec![
                row("b 1", "6.18.4 nspawn", "1"),
                row("a 1", "6.18.4 nspawn", "1"),
            ],
        )
        .unwrap();
        let page = replaced(&page, vec![row("b 1", "6.12.9 VM", "1")]).unwrap();
        let page = replaced(
            &page,
            vec![
                row("b 2", "6.18.44 nspawn", "1"),
                row("b 2", "6.18.44 nspawn", "2"),
            ],
        )
        .unwrap();
        let lines: Vec<&str> = page.lines().filter(|line| line.contains("pass")).collect();
        assert_eq!(
            lines,
            [
                "| a 1 | 6.18.4 nspawn | reference | 1 | pass | 100 | 30 | abc |",
                "| b 1 | 6.12.9 VM | reference | 1 | pass | 100 | 30 | abc |",
                "| b 2 | 6.18.44 nspawn | reference | 1 | pass | 100 | 30 | abc |",
                "| b 2 | 6.18.44 nspawn | reference | 2 | pass | 100 | 30 | abc |",
            ]
        );
        assert!(page.starts_with("text\n") && page.ends_with(&format!("{END}\nmore")));
        assert_eq!(replaced("no table", Vec::new()), None);
    }
}

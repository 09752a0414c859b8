//! The table of what was proven, in docs/drills.md.

/// The table is between these two lines of the page.
const BEGIN: &str = "<!-- proven: written by cargo xtask test drills -->";
const END: &str = "<!-- end of what was proven -->";
const HEAD: [&str; 8] = [
    "drill",
    "machine",
    "solver",
    "seed",
    "verdict",
    "diagnosis",
    "seconds",
    "commit",
];

/// One run: a cell for each column. A drill has its version behind its name, a machine its kind behind its kernel.
pub(super) type Row = [String; HEAD.len()];

fn parse(line: &str) -> Option<Row> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let row: Row = cells
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .ok()?;
    (row != HEAD).then_some(row)
}

fn line(row: &[impl AsRef<str>]) -> String {
    let cells: Vec<&str> = row.iter().map(AsRef::as_ref).collect();
    format!("| {} |", cells.join(" | "))
}

/// What a later run replaces: a drill, whatever its version, and a kind of machine, whatever its kernel's last number.
fn of([drill, machine, ..]: &Row) -> (&str, String, &str) {
    let drill = drill.split(' ').next().unwrap_or_default();
    let (kernel, kind) = machine.split_once(' ').unwrap_or_default();
    let series: Vec<&str> = kernel.split('.').take(2).collect();
    (drill, series.join("."), kind)
}

/// The page with these rows instead of earlier ones of the same drills on the same kind of machine; nothing where it has no table.
pub(super) fn replaced(page: &str, rows: Vec<Row>) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    let is_new = |old: &Row| rows.iter().any(|new| of(new) == of(old));
    let old = table.lines().filter_map(parse);
    let mut all: Vec<Row> = old.filter(|old| !is_new(old)).collect();
    all.extend(rows);
    // Stable: solvers stay in the order in which they were taken.
    all.sort_by(|a, b| of(a).cmp(&of(b)));
    let lines: Vec<String> = all.iter().map(|row| line(row)).collect();
    let (head, rule) = (line(&HEAD), "---|".repeat(HEAD.len()));
    Some(format!(
        "{before}{BEGIN}\n\n{head}\n|{rule}\n{}\n\n{END}{after}",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(drill: &str, machine: &str, seed: &str) -> Row {
        parse(&format!(
            "| {drill} | {machine} | reference | {seed} | pass | 100 | 30 | abc |"
        ))
        .unwrap()
    }

    #[test]
    fn a_drills_rows_are_replaced_and_others_stay() {
        let head = line(&HEAD);
        let page = format!("text\n{BEGIN}\n\n{head}\n\n{END}\nmore");
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

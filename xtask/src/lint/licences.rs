//! Licences and sources of everything that is compiled in, by the rules in deny.toml. cargo-deny reads the same file and is preferred where it
//! is installed; it is not built for this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::paths;
use crate::run::{self, Run};

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<String>,
}

fn rules() -> Result<Deny> {
    let file = paths::root().join("deny.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not what is expected", file.display()))
}

/// cargo-deny's answer, where it is installed.
fn cargo_deny(check: &str) -> Result<bool> {
    if !run::has_program("cargo-deny") {
        return Ok(false);
    }
    Run::new("cargo")
        .args(["deny", "--offline", "check", check])
        .limit_s(300)
        .output()?;
    Ok(true)
}

/// Every crate may be used under some licence of the list.
pub(super) fn check_licences(graphs: &[&Value]) -> Result<()> {
    if cargo_deny("licenses")? {
        return Ok(());
    }
    let allowed: BTreeSet<String> = rules()?.licenses.allow.into_iter().collect();
    let mut problems = Vec::new();
    for package in packages(graphs)? {
        let name = format!(
            "{} {}",
            package["name"].as_str().unwrap_or("?"),
            package["version"].as_str().unwrap_or("?")
        );
        match package["license"].as_str() {
            Some(expression) if is_allowed(expression, &allowed)? => {}
            Some(expression) => problems.push(format!("{name}: {expression}")),
            None => problems.push(format!("{name}: no licence in its manifest")),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!("not allowed by deny.toml: {}", problems.join("; "))
    }
}

/// Everything is either in this repository or from the one registry: no git, no second registry.
pub(super) fn check_sources(graphs: &[&Value]) -> Result<()> {
    if cargo_deny("sources")? {
        return Ok(());
    }
    let mut registries = BTreeSet::new();
    for package in packages(graphs)? {
        match package["source"].as_str() {
            None => {
                let path = package["manifest_path"].as_str().unwrap_or("?");
                if !path.starts_with(&paths::root().display().to_string()) {
                    bail!("{path} is outside the repository");
                }
            }
            Some(source) if source.starts_with("registry+") || source.starts_with("sparse+") => {
                registries.insert(source);
            }
            Some(source) => bail!(
                "{} comes from {source}, not from the registry",
                package["name"]
            ),
        }
    }
    if registries.len() > 1 {
        bail!("more than one registry: {registries:?}")
    } else {
        Ok(())
    }
}

/// A second version of a crate is compiled and audited twice: each one is listed, so that a new one is noticed.
pub(super) fn check_duplicates(graph: &Value) -> Result<()> {
    if cargo_deny("bans")? {
        return Ok(());
    }
    // What is only resolved for other platforms is not compiled.
    let used: BTreeSet<&str> = graph["resolve"]["nodes"]
        .as_array()
        .context("cargo metadata resolves nothing")?
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages(&[graph])? {
        if package["id"].as_str().is_some_and(|id| used.contains(id)) {
            versions
                .entry(package["name"].as_str().unwrap_or("?"))
                .or_default()
                .push(package["version"].as_str().unwrap_or("?"));
        }
    }
    let skip = rules()?.bans.skip;
    let duplicates: Vec<String> = versions
        .iter()
        .filter(|(name, versions)| {
            versions.len() > 1 && !skip.iter().any(|skipped| skipped == *name)
        })
        .map(|(name, versions)| format!("{name} {}", versions.join(" and ")))
        .collect();
    if duplicates.is_empty() {
        Ok(())
    } else {
        bail!(
            "more than one version of: {}; avoid them, or list them in deny.toml with the reason",
            duplicates.join(", ")
        )
    }
}

fn packages<'a>(graphs: &[&'a Value]) -> Result<Vec<&'a Value>> {
    let mut all = Vec::new();
    for graph in graphs {
        all.extend(
            graph["packages"]
                .as_array()
                .context("cargo metadata names no packages")?,
        );
    }
    Ok(all)
}

/// Whether an SPDX expression can be fulfilled with these licences. `/` is an old way to write OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let answer =
        either(&mut words, allowed).with_context(|| format!("the licence {expression:?}"))?;
    match words.next() {
        None => Ok(answer),
        Some(word) => bail!("the licence {expression:?}: unexpected {word:?}"),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let mut answer = both(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        answer |= both(words, allowed)?;
    }
    Ok(answer)
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let mut answer = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        answer &= one(words, allowed)?;
    }
    Ok(answer)
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let word = words.next().context("ends too early")?;
    if word == "(" {
        let answer = either(words, allowed)?;
        if words.next() != Some(")") {
            bail!("a parenthesis is missing");
        }
        return Ok(answer);
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{word} WITH {}", words.next().context("ends after WITH")?);
    }
    Ok(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_judged_as_a_whole() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]
            .map(str::to_owned)
            .into();
        let judge = |expression: &str| is_allowed(expression, &allowed).expect(expression);
        assert!(judge("GPL-2.0-only OR MIT"));
        assert!(judge("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(judge("Apache-2.0 WITH LLVM-exception"));
        assert!(judge("Unlicense/MIT"));
        assert!(!judge("MIT AND GPL-2.0-only"));
        assert!(!judge("Apache-2.0"));
        assert!(!judge("GPL-2.0-only OR (MIT AND Apache-2.0)"));
        assert!(is_allowed("(MIT", &allowed).is_err());
        assert!(is_allowed("MIT MIT", &allowed).is_err());
    }
}

//! One meaning per word: the name of a public type stands for one type in the whole workspace.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, bail};
use toml::Table;

use super::{
    contents,
    sources::{self, SourceFile, module},
};
use crate::shell::repo;

/// The list of names that may stand for more, relative to the repository.
const LIST: &str = "xtask/type-names.toml";

/// Checks all public types, of any visibility; tests and benches are left out.
///
/// # Errors
/// Names the types that are defined more often than allowed, with their places, and lines of the list that are no longer
/// needed.
pub(crate) fn check() -> Result<()> {
    let list = fs::read_to_string(repo().join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let faults = faults(&places(&sources::all(repo())?)?, &Allowed::parse(&list)?);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n  "));
    }
    Ok(())
}

/// What the list allows.
struct Allowed {
    /// Any number of types, with a reason.
    always: Vec<String>,
    /// At most this many, until somebody renames them.
    for_now: BTreeMap<String, usize>,
}

impl Allowed {
    fn parse(text: &str) -> Result<Self> {
        let list: Table = text.parse().with_context(|| format!("{LIST} is not TOML"))?;
        let table = |name: &str| list.get(name).and_then(toml::Value::as_table).into_iter().flatten();
        let reason = |(name, reason): (&String, &toml::Value)| {
            let has_reason = reason.as_str().is_some_and(|reason| !reason.is_empty());
            has_reason.then(|| name.clone()).with_context(|| format!("{LIST} allows {name} without a reason"))
        };
        let number = |(name, most): (&String, &toml::Value)| {
            let most = most.as_integer().and_then(|most| usize::try_from(most).ok());
            Ok((name.clone(), most.with_context(|| format!("{LIST}: {name} has no number"))?))
        };
        Ok(Self {
            always: table("allowed").map(reason).collect::<Result<_>>()?,
            for_now: table("to-rename").map(number).collect::<Result<_>>()?,
        })
    }

    fn most(&self, name: &str) -> usize {
        if self.always.iter().any(|one| one == name) {
            return usize::MAX;
        }
        self.for_now.get(name).copied().unwrap_or(1)
    }
}

/// Where each name is defined.
type Places = BTreeMap<String, Vec<String>>;

fn places(sources: &[SourceFile]) -> Result<Places> {
    let mut places = Places::new();
    for source in sources.iter().filter(|source| is_asked(&source.path)) {
        let contents = contents::read(&source.text, &module(&source.path)).with_context(|| source.path.clone())?;
        for one in contents.public_types {
            places.entry(one.name).or_default().push(format!("{}:{}", source.path, one.line));
        }
    }
    Ok(places)
}

fn is_asked(path: &str) -> bool {
    path.split_once("/src/")
        .is_some_and(|(_, inside)| !inside.split('/').any(|part| ["tests", "tests.rs"].contains(&part)))
}

fn faults(places: &Places, allowed: &Allowed) -> Vec<String> {
    let count = |name: &str| places.get(name).map_or(0, Vec::len);
    let double = places.iter().filter(|(name, places)| places.len() > allowed.most(name)).map(|(name, places)| {
        format!("{name} names {} types, each needs a word of its own: {}", places.len(), places.join(", "))
    });
    let listed = allowed.always.iter().chain(allowed.for_now.keys());
    let stale = listed.filter(|name| count(name) < 2).map(|name| format!("{name} is one type now: take it off {LIST}"));
    double.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "[allowed]\nError = \"one a module\"\n[to-rename]\nStep = 2\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        let places = places(&files.iter().map(source).collect::<Vec<_>>()).unwrap();
        faults(&places, &Allowed::parse(LIST).unwrap())
    }

    #[test]
    fn a_name_for_two_public_types_is_a_fault_whatever_they_are() {
        let listed = "pub enum Error {}\npub struct Step;";
        let first = ("a/src/a.rs", "pub struct Place;\npub enum Error {}\npub struct Step;");
        let faults =
            found(&[first, ("b/src/b.rs", listed), ("c/src/c.rs", "#[derive(Debug)]\npub(crate) type Place = u8;")]);
        assert_eq!(faults, ["Place names 2 types, each needs a word of its own: a/src/a.rs:1, c/src/c.rs:2"]);
        for other in ["pub(super) trait Place {}", "pub union Place { a: u8 }", "pub enum Place {}"] {
            assert_eq!(found(&[first, ("b/src/b.rs", listed), ("c/src/c.rs", other)]).len(), 1, "{other}");
        }
    }

    #[test]
    fn what_is_private_or_of_tests_is_left_out() {
        let listed = "pub enum Error {} pub struct Step;";
        let more = [
            ("b/src/b.rs", "struct Place; pub fn place() { struct Place; } pub use x::Place;"),
            ("c/src/c.rs", "#[cfg(test)] mod tests { pub struct Place; }"),
            ("d/src/d/tests.rs", "pub struct Place;"),
            ("e/tests/e.rs", "pub struct Place;"),
            ("f/benches/f.rs", "pub struct Place;"),
        ];
        let files = [("a/src/a.rs", "pub struct Place;"), ("g/src/g.rs", listed), ("h/src/h.rs", listed)];
        assert!(found(&[&files[..], &more[..]].concat()).is_empty());
    }

    #[test]
    fn the_list_may_only_shrink() {
        let one = "pub enum Error {} pub struct Step;";
        let faults = found(&[("a/src/a.rs", one), ("b/src/b.rs", one), ("c/src/c.rs", one)]);
        assert!(faults.len() == 1 && faults[0].starts_with("Step names 3 types"), "{faults:?}");
        let faults = found(&[("a/src/a.rs", one)]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.contains("take it off")), "{faults:?}");
    }

    #[test]
    fn a_list_without_reasons_or_numbers_is_refused() {
        assert!(Allowed::parse("[allowed]\nError = \"\"\n").is_err());
        assert!(Allowed::parse("[to-rename]\nStep = \"many\"\n").is_err());
    }
}

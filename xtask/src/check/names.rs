//! One meaning per word: the name of a public type stands for one type in the whole workspace.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::{
    contents,
    sources::{self, SourceFile, module},
};
use crate::shell::repo;

/// Checks all public types, of any visibility; tests and benches are left out.
///
/// # Errors
/// Names the types that are defined more than once, with their places.
pub(crate) fn check() -> Result<()> {
    let faults = faults(&places(&sources::all(repo())?)?);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n  "));
    }
    Ok(())
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

fn faults(places: &Places) -> Vec<String> {
    let double = places.iter().filter(|(_, places)| places.len() > 1);
    let fault = |(name, places): (&String, &Vec<String>)| {
        format!("{name} names {} types, each needs a word of its own: {}", places.len(), places.join(", "))
    };
    double.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        faults(&places(&files.iter().map(source).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn a_name_for_two_public_types_is_a_fault_whatever_they_are() {
        let first = ("a/src/a.rs", "pub struct Place;\npub struct Step;");
        let faults = found(&[first, ("c/src/c.rs", "#[derive(Debug)]\npub(crate) type Place = u8;")]);
        assert_eq!(faults, ["Place names 2 types, each needs a word of its own: a/src/a.rs:1, c/src/c.rs:2"]);
        for other in ["pub(super) trait Place {}", "pub union Place { a: u8 }", "pub enum Place {}"] {
            assert_eq!(found(&[first, ("c/src/c.rs", other)]).len(), 1, "{other}");
        }
    }

    #[test]
    fn what_is_private_or_of_tests_is_left_out() {
        let more = [
            ("b/src/b.rs", "struct Place; pub fn place() { struct Place; } pub use x::Place;"),
            ("c/src/c.rs", "#[cfg(test)] mod tests { pub struct Place; }"),
            ("d/src/d/tests.rs", "pub struct Place;"),
            ("e/tests/e.rs", "pub struct Place;"),
            ("f/benches/f.rs", "pub struct Place;"),
        ];
        assert!(found(&[&[("a/src/a.rs", "pub struct Place;")][..], &more[..]].concat()).is_empty());
    }
}

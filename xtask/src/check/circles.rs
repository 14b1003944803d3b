//! Files that import from each other in a circle: none of them can be read, or changed, without the others.
//!
//! A module may import from those that contain it, which hold what they share. That makes no circle.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::{
    graph::{Edges, Graph},
    sources,
};
use crate::shell::repo;

/// Checks all crates.
///
/// # Errors
/// Names the files of each circle, and what each imports from the others.
pub(crate) fn check() -> Result<()> {
    let circles = circles(&Graph::new(&sources::all(repo())?)?);
    if !circles.is_empty() {
        bail!("{}", circles.join("\n  "));
    }
    Ok(())
}

fn circles(graph: &Graph) -> Vec<String> {
    let edges = |path: &str| {
        let mut edges = graph.edges(path);
        edges.retain(|to, _| !lies_in(path, to));
        edges
    };
    let edges: BTreeMap<&str, Edges> = graph.paths().map(|path| (path, edges(path))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|path| (*path, reached(path, &edges))).collect();
    let mut reported = BTreeSet::new();
    let mut circles = Vec::new();
    for (path, others) in &reached {
        if !others.contains(path) || reported.contains(path) {
            continue;
        }
        let members: BTreeSet<&str> =
            others.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(path))).collect();
        circles.push(described(&members, &edges));
        reported.extend(members);
    }
    circles
}

/// Reports whether the module in `path` is inside that in `other`, which may be the root.
fn lies_in(path: &str, other: &str) -> bool {
    let folder = other.strip_suffix("/lib.rs").or_else(|| other.strip_suffix("/main.rs"));
    let folder = folder.or_else(|| other.strip_suffix(".rs")).unwrap_or(other);
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns all files that `from` imports from, directly or through others; itself only if it is in a circle.
fn reached<'a>(from: &str, edges: &'a BTreeMap<&str, Edges>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(path) = open.pop() {
        for next in edges.get(path).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

fn described(members: &BTreeSet<&str>, edges: &BTreeMap<&str, Edges>) -> String {
    let mut lines = vec![format!("{} files use each other in a circle:", members.len())];
    for from in members {
        for (to, names) in edges[from].iter().filter(|(to, _)| members.contains(to.as_str())) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lines.push(format!("    {from} takes {} from {to}", names.join(", ")));
        }
    }
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::{super::sources::SourceFile, *};

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source =
            |(path, text): &(&str, &str)| SourceFile { path: format!("p/src/{path}"), text: (*text).to_owned() };
        circles(&Graph::new(&files.iter().map(source).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn a_circle_is_told_once_with_what_ties_it() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
            ("d.rs", "pub struct D;"),
        ]);
        assert_eq!(circles.len(), 1, "{circles:?}");
        let lines: Vec<&str> = circles[0].lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "3 files use each other in a circle:",
                "p/src/a.rs takes B from p/src/b.rs",
                "p/src/b.rs takes C from p/src/c.rs",
                "p/src/c.rs takes A from p/src/a.rs",
            ]
        );
    }

    #[test]
    fn a_module_may_take_from_those_that_it_lies_in() {
        let files = |child| {
            [
                ("lib.rs", "mod a; mod ab; pub struct Root;"),
                ("a.rs", "mod b; use b::B; pub struct A(B);"),
                ("a/b.rs", child),
                ("ab.rs", "use crate::a::A; pub struct Ab;"),
            ]
        };
        assert!(found(&files("use super::A; use crate::Root; pub struct B;")).is_empty());
        let circles = found(&files("use crate::ab::Ab; pub struct B;"));
        assert!(circles.len() == 1 && circles[0].starts_with("3 files"), "{circles:?}");
    }
}

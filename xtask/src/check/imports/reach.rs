//! What a module reaches through others of its crate: whoever imports from a file with a clock has a clock.

use std::collections::{BTreeMap, VecDeque};

use super::{super::graph::Graph, Exception, Law, Rule};

/// Follows each rule that also covers what a module reaches; returns which file breaks it by the shortest way there.
pub(super) fn breaches(graph: &Graph, rules: &[Rule], exceptions: &[Exception]) -> Vec<String> {
    let mut needed = vec![false; exceptions.len()];
    let mut breaches = Vec::new();
    for rule in rules.iter().filter(|rule| matches!(rule.law, Law::NeverAtAll(_))) {
        breaches.append(&mut of_rule(graph, rule, exceptions, &mut needed));
    }
    let stale = exceptions.iter().zip(needed).filter(|(_, needed)| !needed);
    let stale = stale.map(|(one, _)| format!("{} needs no exception for {} any more", one.file, one.uses));
    breaches.extend(stale);
    breaches
}

fn of_rule(graph: &Graph, rule: &Rule, exceptions: &[Exception], needed: &mut [bool]) -> Vec<String> {
    let mut breaches = Vec::new();
    // Maps each file to the one that leads there first; the files of the rule itself have none.
    let mut from: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut open: VecDeque<String> = VecDeque::new();
    for path in graph.paths().filter(|path| rule.is_about(path)) {
        from.insert(path.to_owned(), None);
        open.push_back(path.to_owned());
    }
    while let Some(path) = open.pop_front() {
        let is_pure = from[&path].is_none();
        let mut broken = graph.used(&path).iter().filter(|used| !is_pure && rule.law.is_broken_by(used));
        let breach = broken.find(|used| {
            let excepted = exceptions.iter().zip(needed.iter_mut()).filter(|(one, _)| one.file == path);
            let mut excepted = excepted.filter(|(one, _)| used.path.first().is_some_and(|first| first == one.uses));
            excepted.next().map(|(_, needed)| *needed = true).is_none()
        });
        if let Some(used) = breach {
            let (way, uses) = (way(&path, &from), used.path.join("::"));
            breaches.push(format!("{path}:{}: uses {uses}, and {way} reaches it, but {}", used.line, rule.why));
            // What it leads to need not be reported as well.
            continue;
        }
        for next in graph.edges(&path).into_keys() {
            from.entry(next.clone()).or_insert_with(|| {
                open.push_back(next);
                Some(path.clone())
            });
        }
    }
    breaches
}

/// Returns the files that lead to `path`, from the one that the rule covers.
fn way(path: &str, from: &BTreeMap<String, Option<String>>) -> String {
    let before = |path: &String| from.get(path).cloned().flatten();
    let mut files: Vec<String> = std::iter::successors(before(&path.to_owned()), before).collect();
    files.reverse();
    files.join(" → ")
}

#[cfg(test)]
mod tests {
    use super::{super::super::sources::SourceFile, *};

    const RULE: Rule =
        Rule { of: &["p/src/pure"], except: &[], law: Law::NeverAtAll(&["nix", "*::Instant"]), why: "it is pure" };

    fn found(files: &[(&str, &str)], exceptions: &[Exception]) -> Vec<String> {
        let source =
            |(path, text): &(&str, &str)| SourceFile { path: format!("p/src/{path}"), text: (*text).to_owned() };
        breaches(&Graph::new(&files.iter().map(source).collect::<Vec<_>>()).unwrap(), &[RULE], exceptions)
    }

    #[test]
    fn what_is_reached_through_others_is_told_with_the_way() {
        let files = [
            ("lib.rs", "mod pure; mod near; mod far; mod behind; mod apart;"),
            ("pure.rs", "mod part;"),
            ("pure/part.rs", "use crate::near::Near;"),
            ("near.rs", "use crate::far::Far; pub struct Near;"),
            ("far.rs", "//! Far.\nuse std::time::Instant; use crate::behind::Behind; pub struct Far;"),
            ("behind.rs", "use nix::libc; pub struct Behind;"),
            ("apart.rs", "use nix::libc; use crate::pure;"),
        ];
        assert_eq!(
            found(&files, &[]),
            [
                "p/src/far.rs:2: uses std::time::Instant, and p/src/pure/part.rs → p/src/near.rs reaches it, but it is pure"
            ]
        );
    }

    #[test]
    fn an_exception_is_for_one_file_and_one_use_and_must_be_needed() {
        let exception = |uses| Exception { file: "p/src/near.rs", uses, why: "to be mended" };
        let files = [
            ("lib.rs", "mod pure; mod near;"),
            ("pure.rs", "use crate::near::Near;"),
            ("near.rs", "use nix::libc; pub struct Near;"),
        ];
        assert_eq!(found(&files, &[]).len(), 1);
        assert!(found(&files, &[exception("nix")]).is_empty());
        assert_eq!(found(&files, &[exception("std")]).len(), 2, "it is a breach still, and the exception for nothing");
    }
}

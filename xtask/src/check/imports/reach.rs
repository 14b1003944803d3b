//! What a module reaches through others of its crate: whoever imports from a file with a clock has a clock.

use std::collections::{BTreeMap, VecDeque};

use super::{super::graph::Graph, Law, Rule};

/// Follows each rule that also covers what a module reaches; returns which file breaks it by the shortest way there.
pub(super) fn breaches(graph: &Graph, rules: &[Rule]) -> Vec<String> {
    let followed = rules.iter().filter(|rule| matches!(rule.law, Law::NeverAtAll(_)));
    followed.flat_map(|rule| of_rule(graph, rule)).collect()
}

fn of_rule(graph: &Graph, rule: &Rule) -> Vec<String> {
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
        let breach = graph.used(&path).iter().find(|used| !is_pure && rule.law.is_broken_by(used));
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

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source =
            |(path, text): &(&str, &str)| SourceFile { path: format!("p/src/{path}"), text: (*text).to_owned() };
        breaches(&Graph::new(&files.iter().map(source).collect::<Vec<_>>()).unwrap(), &[RULE])
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
            found(&files),
            [
                "p/src/far.rs:2: uses std::time::Instant, and p/src/pure/part.rs → p/src/near.rs reaches it, but it is pure"
            ]
        );
    }
}

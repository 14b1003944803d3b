//! The first word of a function's doc comment: a verb in the third person, as rustdoc has it ("Returns", "Attaches").

use anyhow::{Result, bail};

use super::sources::{self, SourceFile};
use crate::shell::repo;

/// Words that end like a verb and are none.
const NO_VERBS: [&str; 18] = [
    "Address",
    "Addresses",
    "Always",
    "As",
    "Bytes",
    "Does",
    "Has",
    "Hops",
    "Ids",
    "Is",
    "Its",
    "Less",
    "Packets",
    "Perhaps",
    "Programs",
    "This",
    "Was",
    "Whose",
];

/// Checks all functions of the crates; tests and benches in folders of their own are left out.
///
/// # Errors
/// Names each doc comment that does not start with such a verb.
pub(crate) fn check() -> Result<()> {
    let faults = faults(&sources::all(repo())?);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n  "));
    }
    Ok(())
}

fn faults(sources: &[SourceFile]) -> Vec<String> {
    let of_file = |source: &SourceFile| {
        let words = first_words(&source.text).filter(|(_, word)| !is_verb(word));
        let fault = |(line, word)| format!("{}:{line}: '{word}' is no verb in the third person", source.path);
        words.map(fault).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| source.path.contains("/src/")).flat_map(of_file).collect()
}

/// Returns the first word of the doc comment of every function, with the line of that word, from 1.
fn first_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut found = Vec::new();
    let mut comment = None;
    let mut attribute_depth = 0;
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(words) = line.strip_prefix("///") {
            comment = comment.or_else(|| Some((number, words.split_whitespace().next().unwrap_or_default())));
        } else if attribute_depth > 0 || line.starts_with("#[") {
            let count = |bracket| i32::try_from(line.matches(bracket).count()).unwrap_or_default();
            attribute_depth += count('[') - count(']');
        } else {
            found.extend(comment.take().filter(|_| is_function(line)));
        }
    }
    found.into_iter()
}

/// Reports whether a line starts a function.
fn is_function(line: &str) -> bool {
    let rest = line.strip_prefix("pub").unwrap_or(line);
    let rest = rest.strip_prefix('(').and_then(|inside| inside.split_once(')')).map_or(rest, |(_, rest)| rest);
    let mut words = rest.split_whitespace();
    words.find(|word| !matches!(*word, "const" | "async" | "unsafe" | "extern" | "\"C\"")) == Some("fn")
}

fn is_verb(word: &str) -> bool {
    let word = word.trim_end_matches(',');
    let (first, rest) = word.split_at_checked(1).unwrap_or_default();
    let is_capitalised = first.chars().all(|letter| letter.is_ascii_uppercase());
    let is_word = rest.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    is_capitalised && is_word && rest.ends_with('s') && !NO_VERBS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        faults(&[SourceFile { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn a_function_is_described_by_a_verb_and_anything_else_by_what_it_is() {
        for good in [
            "/// Returns it.\nfn a() {}",
            "/// Re-reads it.\n///\n/// # Errors\n/// None.\n#[cold]\npub(crate) const unsafe extern \"C\" fn a() {}",
            "/// What it is.\nstruct A;",
            "fn a() {}",
        ] {
            assert!(found("p/src/a.rs", good).is_empty(), "{good}");
        }
        for bad in [
            "/// Whether it is.\nfn a() {}",
            "/// This is it.\n    pub fn a() {}",
            "/// returns it.\nfn a() {}",
            "/// `NAME`s it.\nfn a() {}",
            "///\nfn a() {}",
            "/// It.\n#[expect(\n    dead_code,\n    reason = \"[]\"\n)]\n/// More.\nasync fn a() {}",
            "/// It.\npub(in crate::a) fn a() {}",
        ] {
            assert_eq!(found("p/src/a.rs", bad).len(), 1, "{bad}");
        }
        let bad = "\n/// Whether it is.\nfn a() {}";
        assert_eq!(found("p/src/a.rs", bad), ["p/src/a.rs:2: 'Whether' is no verb in the third person"]);
        assert!(found("p/tests/a.rs", bad).is_empty());
    }
}

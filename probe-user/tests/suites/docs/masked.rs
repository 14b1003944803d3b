//! Whether a command printed what a page shows: word by word, but for what differs from run to run.

/// Stands for any words that a page leaves out.
const LEFT_OUT: &str = "…";

const UNITS: [&str; 6] = ["ns", "us", "ms", "s", "min", "KiB"];

/// What is left of `text` once times, dates, drawn ids and how lines were broken are taken out. Counts stay.
fn words(text: &str) -> Vec<String> {
    let found: Vec<&str> = text.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|letter: char| "(),;:.±".contains(letter)).to_owned();
    let number = |word: &str| bare(word).parse::<f64>().is_ok();
    let mut words = Vec::new();
    for (index, word) in found.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| found[before]);
        let unit = |word: &str| UNITS.contains(&bare(word).as_str());
        let dated = |mark: char, parts: usize| {
            let bare = bare(word);
            bare.split(mark).count() == parts && bare.split(mark).all(|part| part.parse::<u32>().is_ok())
        };
        words.push(match found.get(index + 1) {
            Some(next) if number(word) && unit(next) => "TIME".to_owned(),
            _ if unit(word) && before.is_some_and(number) => "UNIT".to_owned(),
            _ if word.starts_with("0x") => "0x#".to_owned(),
            _ if dated('-', 3) || dated(':', 3) => "DATE".to_owned(),
            _ => (*word).to_owned(),
        });
    }
    words
}

/// What differs between what is shown and what was printed, if anything.
pub(super) fn difference(shown: &str, printed: &str) -> Option<String> {
    let (shown_words, printed_words) = (words(shown), words(printed));
    let mut parts = shown_words.split(|word| word == LEFT_OUT);
    let first = parts.next().unwrap_or_default();
    let parts: Vec<&[String]> = parts.collect();
    let missing = |part: &[String]| Some(format!("not printed: {}", part.join(" ")));
    let Some(mut rest) = printed_words.strip_prefix(first) else { return missing(first) };
    let Some((last, middle)) = parts.split_last() else {
        return (!rest.is_empty()).then(|| format!("printed and not shown: {}", rest.join(" ")));
    };
    for part in middle.iter().filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == *part) else { return missing(part) };
        rest = &rest[at + part.len()..];
    }
    if rest.ends_with(last) { None } else { missing(last) }
}

#[test]
fn times_dates_and_ids_may_differ_and_counts_may_not() {
    let same = |shown, printed| difference(shown, printed).is_none();
    assert!(same("5 of 5 in 0.31 ms (median).", "5 of 5 in 12 us (median)."));
    assert!(same("id 0x1234 at\n  2026-01-02 10:00:00", "id 0xffff at 2027-03-04 11:01:02"));
    assert!(same("a\n…\nz", "a b c z") && same("a …", "a") && same("… z", "y z") && same("… b … z", "a b c z"));
    assert!(!same("5 of 5", "4 of 5") && !same("a", "a b") && !same("a … z", "a z b") && !same("… b … z", "a c z"));
    assert!(!same("sent 9", "sent 8") && !same("a b", "a"));
}

//! Which cases are run: by names as they are typed, and by IP version. Pure.

use probe_ebpf::Family;
use strsim::jaro_winkler;

use super::case::NamedCase;

/// The cases that were asked for.
#[derive(Clone, Debug, Default)]
pub struct CaseSelection {
    /// Names, prefixes of names, or patterns with `*` and `?`; if empty, every case.
    pub names: Vec<String>,
    /// One IP version only.
    pub family: Option<Family>,
}

/// A name that no case has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As it was typed.
    pub name: String,
    /// The most similar name of a case.
    pub nearest: Option<String>,
}

/// Selects those of `cases` that were asked for, in their own order.
///
/// # Errors
/// The first name that matches no case of any IP version.
pub fn choose<C: NamedCase>(cases: Vec<C>, choice: &CaseSelection) -> Result<Vec<C>, Unknown> {
    if let Some(name) = choice.names.iter().find(|name| !cases.iter().any(|case| fits(name, case.name()))) {
        return Err(Unknown { name: name.clone(), nearest: nearest(name, cases.iter().map(NamedCase::name)) });
    }
    let named = |case: &C| choice.names.is_empty() || choice.names.iter().any(|name| fits(name, case.name()));
    let of_family = |case: &C| choice.family.is_none_or(|family| family == case.family());
    Ok(cases.into_iter().filter(|case| named(case) && of_family(case)).collect())
}

/// Returns whether a typed name means `name`: as it is, as a prefix that ends at a hyphen, or as a pattern.
pub fn fits(typed: &str, name: &str) -> bool {
    if typed.contains(['*', '?']) {
        return matches(typed.as_bytes(), name.as_bytes());
    }
    name.strip_prefix(typed).is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || typed.ends_with('-'))
}

/// Matches `text` with a shell pattern of `*`, `?` and plain characters.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => matches(rest, text) || (!text.is_empty() && matches(pattern, &text[1..])),
        ([b'?', rest @ ..], [_, text @ ..]) => matches(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one == other && matches(rest, text),
        _ => false,
    }
}

/// Returns the most similar of `names`, if any is similar to `name`.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let (best, likeness) =
        names.map(|other| (other, jaro_winkler(name, other))).max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (likeness > 0.7).then(|| best.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_meant_whole_as_a_beginning_or_as_a_pattern() {
        assert!(fits("peer-nft-input", "peer-nft-input"));
        assert!(fits("peer-nft", "peer-nft-input") && fits("peer-", "peer-nft-input"));
        assert!(!fits("peer-n", "peer-nft-input") && !fits("pee", "peer-nft-input"));
        assert!(fits("*-nft-*", "peer-nft-input") && fits("*put", "peer-nft-input") && fits("p???-nft*", "peer-nft-x"));
        assert!(!fits("*-nft", "peer-nft-input") && !fits("?", ""));
    }

    #[test]
    fn the_order_is_the_catalogues_and_the_family_is_a_filter() {
        let choice = CaseSelection { names: vec!["peer-nft-input".into(), "healthy".into()], family: Some(Family::V6) };
        let chosen = choose(super::super::all(), &choice).expect("known names");
        assert!(chosen.iter().all(|case| case.family == Family::V6));
        assert!(chosen.first().is_some_and(|case| case.name == "healthy"));
        assert!(chosen.iter().any(|case| case.name == "peer-nft-input-reject"), "a beginning is enough");
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest() {
        let choice = CaseSelection { names: vec!["per-nft-input".into()], family: None };
        let unknown = choose(super::super::all(), &choice).expect_err("a typing error");
        assert_eq!(unknown.nearest.as_deref(), Some("peer-nft-input"));
    }
}

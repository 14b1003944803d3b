//! The built-in experiments, as the files that `probe experiment --print` shows.

use super::Script;

/// Their names and texts, in teaching order.
pub const TEXTS: [(&str, &str); 5] = [
    ("normal", include_str!("builtin/normal.toml")),
    ("reply-only", include_str!("builtin/reply-only.toml")),
    ("many-replies", include_str!("builtin/many-replies.toml")),
    ("id-mismatch", include_str!("builtin/id-mismatch.toml")),
    ("timeout-expiry", include_str!("builtin/timeout-expiry.toml")),
];

/// Returns the text of the built-in script with this name.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the built-in script with this name.
pub fn named(name: &str) -> Option<Script> {
    text(name).map(|text| Script::parse(name, text).expect("a test reads every text"))
}

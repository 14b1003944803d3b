//! Makes text of unknown origin harmless for whoever reads it on a terminal: pure.
//!
//! Host names, script titles, error messages and names from the kernel are chosen by others. On a terminal, control
//! characters in them would colour and move what is printed, retitle the window or forge lines, and direction controls
//! would show them in another order than they are stored in (Unicode Technical Report 36, section 2.1). Everything
//! that is printed goes through here: reports in [`crate::report::write`], all else where it is written to stderr.

use std::borrow::Cow;

/// Reports whether a character changes a terminal or the order of its neighbours, and shows nothing.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn blanked(text: &str, harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().any(&harmful) {
        Cow::Owned(text.chars().map(|c| if harmful(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns `text` as part of one line: each harmful character, newlines too, becomes a blank.
pub fn line(text: &str) -> Cow<'_, str> {
    blanked(text, is_harmful)
}

/// Returns `text` with its lines unchanged; every other harmful character becomes a blank.
pub fn text(text: &str) -> Cow<'_, str> {
    blanked(text, |character| character != '\n' && is_harmful(character))
}

/// Returns the JSON document `json` with each harmful character that JSON allows written as an escape: the same document to
/// a machine, and harmless on a terminal.
pub fn json(json: &str) -> Cow<'_, str> {
    // In a document these occur only in strings; its own blanks and newlines are ASCII.
    let escaped = |character: char| !character.is_ascii_whitespace() && is_harmful(character);
    if !json.chars().any(escaped) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if escaped(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each of these would do: colour, title, cursor, 8-bit CSI, rubout, return, direction, hidden tags.
    pub(crate) const EVIL: &str =
        "b\x1b[31m\x1b]0;x\x07\x08\u{9b}2J\x7f\rc\u{202e}txt\u{2066}\u{200f}\u{2028}\u{e0041}\nforged";

    #[test]
    fn nothing_that_moves_or_turns_text_is_left() {
        assert_eq!(line(EVIL), "b [31m ]0;x   2J  c txt     forged");
        assert_eq!(text(EVIL), "b [31m ]0;x   2J  c txt    \nforged");
        assert_eq!(line("Zürich 東京 → ok"), "Zürich 東京 → ok");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_document(value in any::<String>()) {
            let written = serde_json::to_string(&value).expect("a string");
            let shown = json(&written);
            prop_assert!(!shown.chars().any(is_harmful));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), value);
        }

        #[test]
        fn harmless_text_is_left_alone(value in "[ -~äß東→]*") {
            prop_assert_eq!(text(&value), value.as_str());
        }
    }

    #[test]
    fn escapes_of_a_document_survive() {
        let written = serde_json::to_string(EVIL).expect("a string");
        assert_eq!(serde_json::from_str::<String>(&json(&written)).expect("JSON"), EVIL);
        assert!(json(&written).is_ascii());
    }
}

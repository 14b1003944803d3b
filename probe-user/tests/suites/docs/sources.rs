//! What doc comments of the sources say of the variants of an enum.

/// The variants of enum `name` in `source`, in order, each with its doc comment on one line.
pub(super) fn variants(source: &str, name: &str) -> Vec<(String, String)> {
    let begin = source.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("there is no enum {name}"));
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in source[begin..].lines().skip(1).map(str::trim).take_while(|line| *line != "}") {
        if let Some(text) = line.strip_prefix("///") {
            doc = format!("{doc} {}", text.trim()).trim().to_owned();
        } else if line.starts_with(char::is_uppercase) {
            let end = line.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(line.len());
            found.push((line[..end].to_owned(), std::mem::take(&mut doc)));
        }
    }
    found
}

/// A name as documents have it: `NfInput` is `nf-input`.
pub(super) fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[test]
fn variants_are_read_with_what_is_said_of_them() {
    let source = "/// No.\npub enum A {\n    /// One,\n    /// in two lines.\n    First = 0,\n    #[serde]\n    /// Two.\n    SecondOne { a: u8 },\n}\nB,";
    let expected = [("First", "One, in two lines."), ("SecondOne", "Two.")];
    assert_eq!(variants(source, "A"), expected.map(|(name, doc)| (name.to_owned(), doc.to_owned())));
    assert_eq!(kebab("SecondOne"), "second-one");
}

//! The pages that are made from the code: compared with the files, or written to them under `PROBE_WRITE_DOCS=1`.

use std::{collections::BTreeMap, env, fs};

use probe_user::cli::Cli;

use super::{causes, hops, json, repo};

/// Pages by their path below `docs/`.
pub(super) type Pages = BTreeMap<String, String>;

/// Folders that hold nothing but such pages.
pub(super) const FOLDERS: [&str; 3] = ["hops", "causes", "json"];

/// What tells a reader not to edit.
pub(super) const MADE: &str = "<!-- Written from the code by `cargo xtask docs`; a test holds it equal. -->\n\n";

fn all() -> Pages {
    let mut pages = hops::pages();
    pages.extend(causes::pages());
    pages.extend(json::pages());
    pages.insert("commands.md".to_owned(), commands());
    // Editors and git take blanks at the end of a line, and empty lines at the end of a file, for mistakes.
    let tidy = |text: String| text.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
    pages.into_iter().map(|(path, text)| (path, tidy(text).trim_end().to_owned() + "\n")).collect()
}

fn commands() -> String {
    let options = clap_markdown::MarkdownOptions::new().title("Commands".to_owned()).show_footer(false);
    MADE.to_owned() + &clap_markdown::help_markdown_custom::<Cli>(&options)
}

#[test]
fn pages_that_are_made_from_the_code_are_as_it_has_them() {
    let (docs, pages) = (repo().join("docs"), all());
    let mut strangers = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(docs.join(folder)).into_iter().flatten() {
            let entry = entry.expect("an entry");
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            // Below is what pages are made from.
            if entry.path().is_file() && !pages.contains_key(&name) {
                strangers.push(name);
            }
        }
    }
    if env::var_os("PROBE_WRITE_DOCS").is_some_and(|value| value == "1") {
        for folder in FOLDERS {
            fs::create_dir_all(docs.join(folder)).expect("a folder");
        }
        for (path, text) in &pages {
            fs::write(docs.join(path), text).expect("a page is written");
        }
        for name in strangers {
            fs::remove_file(docs.join(name)).expect("it was there");
        }
        return;
    }
    let differs =
        |(path, text): &(&String, &String)| fs::read_to_string(docs.join(path)).map_or(true, |there| there != **text);
    let different: Vec<_> = pages.iter().filter(differs).map(|(path, _)| path).collect();
    assert!(different.is_empty() && strangers.is_empty(), "{different:?}, {strangers:?} — run: cargo xtask docs");
}

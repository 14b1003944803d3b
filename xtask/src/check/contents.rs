//! What a Rust file uses and defines, read from its tokens, so that comments and strings don't count and macros do.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// A path in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Its segments; `self` and `super` are resolved, so that a path within the crate starts with `crate`.
    pub(super) path: Vec<String>,
    /// The line in which it starts, from 1.
    pub(super) line: usize,
    /// Whether it is in a `use`.
    pub(super) imported: bool,
    /// Whether it starts with a name that this file declares: a module or a type.
    pub(super) local: bool,
    /// Whether it is in a `pub use`, of any visibility.
    pub(super) reexported: bool,
    /// The file's name for an import; `*`: everything in it.
    pub(super) alias: String,
}

/// A type that others can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicType {
    pub(super) name: String,
    /// The line of its name, from 1.
    pub(super) line: usize,
}

/// The content of a file, except for modules under `#[cfg(test)]`: what tests use says nothing about the module.
#[derive(Default)]
pub(super) struct FileContents {
    pub(super) used: Vec<Used>,
    /// Types, traits and aliases that are `pub`, of any visibility.
    pub(super) public_types: Vec<PublicType>,
    /// Everything that it defines: modules, types, functions, constants, macros.
    pub(super) items: BTreeSet<String>,
    /// Every word outside imports.
    pub(super) words: BTreeSet<String>,
}

/// Reads the file of `module`.
///
/// # Errors
/// The text is not Rust.
pub(super) fn read(text: &str, module: &[String]) -> Result<FileContents> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut reader = Reader { module: module.to_vec(), declared: BTreeSet::new(), contents: FileContents::default() };
    reader.read(tokens);
    let Reader { mut contents, declared, .. } = reader;
    for one in &mut contents.used {
        one.local = one.path.first().is_some_and(|root| declared.contains(root));
    }
    Ok(contents)
}

struct Reader {
    module: Vec<String>,
    /// Its modules and types.
    declared: BTreeSet<String>,
    contents: FileContents,
}

/// The keywords that define a type.
const TYPES: [&str; 5] = ["enum", "struct", "union", "trait", "type"];
/// The keywords of other items that others may import.
const OTHERS: [&str; 3] = ["fn", "const", "static"];

type Tokens = std::iter::Peekable<proc_macro2::token_stream::IntoIter>;

impl Reader {
    fn read(&mut self, stream: TokenStream) {
        let mut tokens = stream.into_iter().peekable();
        let (mut test_only, mut hash, mut public) = (false, false, false);
        while let Some(token) = tokens.next() {
            let after_hash = std::mem::take(&mut hash);
            let was_public = std::mem::take(&mut public);
            match token {
                TokenTree::Punct(punct) => {
                    hash = punct.as_char() == '#';
                    test_only &= hash;
                }
                TokenTree::Group(group) if after_hash => test_only |= is_cfg_test(&group.stream()),
                TokenTree::Group(group) => {
                    // `pub(crate)` counts as public too.
                    public = was_public && group.delimiter() == Delimiter::Parenthesis;
                    self.read(group.stream());
                }
                TokenTree::Ident(word) if word == "use" => {
                    let before = self.contents.used.len();
                    self.tree(&mut tokens, &[], true);
                    for used in &mut self.contents.used[before..] {
                        used.reexported = was_public;
                    }
                    if std::mem::take(&mut test_only) {
                        self.contents.used.truncate(before);
                    }
                }
                TokenTree::Ident(word) if word == "mod" => {
                    self.inner_module(&mut tokens, std::mem::take(&mut test_only));
                }
                TokenTree::Ident(word) => {
                    // `pub` and `pub(crate)` may stand between an attribute and its module.
                    test_only &= word == "pub";
                    public = word == "pub";
                    self.word(&word, &mut tokens, was_public);
                }
                TokenTree::Literal(_) => test_only = false,
            }
        }
    }

    fn inner_module(&mut self, tokens: &mut Tokens, test_only: bool) {
        let Some(TokenTree::Ident(name)) = tokens.next() else { return };
        self.declared.insert(name.to_string());
        self.contents.items.insert(name.to_string());
        let Some(TokenTree::Group(body)) = tokens.next_if(|token| matches!(token, TokenTree::Group(_))) else { return };
        if !test_only {
            self.module.push(name.to_string());
            self.read(body.stream());
            self.module.pop();
        }
    }

    fn word(&mut self, word: &Ident, tokens: &mut Tokens, public: bool) {
        let is_one_of = |keywords: &[&str]| keywords.iter().any(|keyword| word == keyword);
        let is_type = is_one_of(&TYPES);
        if is_type || is_one_of(&OTHERS) {
            if let Some(TokenTree::Ident(name)) = tokens.peek() {
                let (name, line) = (name.to_string(), name.span().start().line);
                self.contents.items.insert(name.clone());
                if is_type {
                    self.declared.insert(name.clone());
                }
                if is_type && public {
                    self.contents.public_types.push(PublicType { name, line });
                }
            }
            return;
        }
        if word == "macro_rules" && tokens.next_if(|token| is_punct(token, '!')).is_some() {
            if let Some(TokenTree::Ident(name)) = tokens.next() {
                self.contents.items.insert(name.to_string());
            }
            return;
        }
        self.contents.words.insert(word.to_string());
        let line = word.span().start().line;
        let mut path = vec![word.to_string()];
        while is_path_separator(tokens) {
            match tokens.next_if(|token| matches!(token, TokenTree::Ident(_))) {
                Some(segment) => path.push(segment.to_string()),
                None => break,
            }
        }
        // A single word is a keyword, a variable or an import, which was already read.
        if path.len() > 1 {
            let path = self.resolve(path);
            self.contents.used.push(Used {
                path,
                line,
                imported: false,
                local: false,
                reexported: false,
                alias: String::new(),
            });
        }
    }

    /// Reads what follows `use`: one tree, or several separated by commas.
    fn tree(&mut self, tokens: &mut Tokens, prefix: &[String], outermost: bool) {
        let mut path = prefix.to_vec();
        let mut alias = None;
        let mut line = 0;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => alias = tokens.next().map(|name| name.to_string()),
                TokenTree::Ident(word) => {
                    line = word.span().start().line;
                    path.push(word.to_string());
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.tree(&mut group.stream().into_iter().peekable(), &path, false);
                    path.clear();
                }
                TokenTree::Punct(punct) if punct.as_char() == ',' => {
                    let whole = std::mem::replace(&mut path, prefix.to_vec());
                    self.import(whole, alias.take(), line);
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    alias = Some("*".to_owned());
                    line = punct.span().start().line;
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' && outermost => break,
                _ => {}
            }
        }
        if path.len() > prefix.len() || alias.is_some() {
            self.import(path, alias, line);
        }
    }

    fn import(&mut self, mut path: Vec<String>, alias: Option<String>, line: usize) {
        // `use a::{self, b}` imports a; at the start of a path `self` means something else.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if line > 0 && !path.is_empty() {
            let path = self.resolve(path);
            let alias = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            self.contents.used.push(Used { path, line, imported: true, local: false, reexported: false, alias });
        }
    }

    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        let mut module = self.module.clone();
        let mut segments = path.iter().peekable();
        if segments.peek().is_none_or(|first| *first != "self" && *first != "super") {
            return path;
        }
        while let Some(step) = segments.next_if(|segment| *segment == "self" || *segment == "super") {
            if step == "super" {
                module.pop();
            }
        }
        ["crate".to_owned()].into_iter().chain(module).chain(segments.cloned()).collect()
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_path_separator(tokens: &mut Tokens) -> bool {
    let is_colon = |token: &TokenTree| is_punct(token, ':');
    let joint =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.spacing() == proc_macro2::Spacing::Joint);
    tokens.next_if(|token| is_colon(token) && joint(token)).is_some() && tokens.next_if(is_colon).is_some()
}

fn is_cfg_test(attribute: &TokenStream) -> bool {
    attribute.to_string().replace(' ', "") == "cfg(test)"
}

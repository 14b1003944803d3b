//! Every path that a Rust file uses, read from its tokens, so that comments and strings don't count and macros do.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// A path in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Its segments; `self` and `super` are resolved, so that a path within the crate begins with `crate`.
    pub(super) path: Vec<String>,
    /// The line it begins in, from 1.
    pub(super) line: usize,
    /// It stands in a `use`.
    pub(super) imported: bool,
    /// It begins with a name that this file declares: a module or a type.
    pub(super) local: bool,
}

/// The paths in a file, except those in modules under `#[cfg(test)]`: what tests use says nothing about the module.
///
/// # Errors
/// The text is not Rust.
pub(super) fn used(text: &str, module: &[String]) -> Result<Vec<Used>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut reader = Reader { module: module.to_vec(), used: Vec::new(), declared: BTreeSet::new() };
    reader.read(tokens);
    let Reader { mut used, declared, .. } = reader;
    for one in &mut used {
        one.local = one.path.first().is_some_and(|root| declared.contains(root));
    }
    Ok(used)
}

struct Reader {
    module: Vec<String>,
    used: Vec<Used>,
    declared: BTreeSet<String>,
}

type Tokens = std::iter::Peekable<proc_macro2::token_stream::IntoIter>;

impl Reader {
    fn read(&mut self, stream: TokenStream) {
        let mut tokens = stream.into_iter().peekable();
        let (mut test_only, mut hash) = (false, false);
        while let Some(token) = tokens.next() {
            let after_hash = std::mem::take(&mut hash);
            match token {
                TokenTree::Punct(punct) => {
                    hash = punct.as_char() == '#';
                    test_only &= hash;
                }
                TokenTree::Group(group) if after_hash => test_only |= is_cfg_test(&group.stream()),
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Ident(word) if word == "use" => {
                    let before = self.used.len();
                    self.tree(&mut tokens, &[], true);
                    if std::mem::take(&mut test_only) {
                        self.used.truncate(before);
                    }
                }
                TokenTree::Ident(word) if word == "mod" => {
                    self.inner_module(&mut tokens, std::mem::take(&mut test_only));
                }
                TokenTree::Ident(word) => {
                    // `pub` and `pub(crate)` may stand between an attribute and its module.
                    test_only &= word == "pub";
                    self.word(&word, &mut tokens);
                }
                TokenTree::Literal(_) => test_only = false,
            }
        }
    }

    fn inner_module(&mut self, tokens: &mut Tokens, test_only: bool) {
        let Some(TokenTree::Ident(name)) = tokens.next() else { return };
        self.declared.insert(name.to_string());
        let Some(TokenTree::Group(body)) = tokens.next_if(|token| matches!(token, TokenTree::Group(_))) else { return };
        if !test_only {
            self.module.push(name.to_string());
            self.read(body.stream());
            self.module.pop();
        }
    }

    fn word(&mut self, word: &Ident, tokens: &mut Tokens) {
        if ["enum", "struct", "union", "trait", "type"].iter().any(|keyword| *word == keyword) {
            if let Some(TokenTree::Ident(name)) = tokens.peek() {
                self.declared.insert(name.to_string());
            }
            return;
        }
        let line = word.span().start().line;
        let mut path = vec![word.to_string()];
        while is_path_separator(tokens) {
            match tokens.next_if(|token| matches!(token, TokenTree::Ident(_))) {
                Some(segment) => path.push(segment.to_string()),
                None => break,
            }
        }
        // A word on its own is a keyword, a variable or something imported, and the import was seen.
        if path.len() > 1 {
            self.push(path, line, false);
        }
    }

    /// Reads what follows `use`: one tree, or several with commas between them.
    fn tree(&mut self, tokens: &mut Tokens, prefix: &[String], outermost: bool) {
        let mut path = prefix.to_vec();
        let mut line = 0;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    tokens.next();
                }
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
                    self.push(whole, line, true);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' && outermost => break,
                _ => {}
            }
        }
        if path.len() > prefix.len() {
            self.push(path, line, true);
        }
    }

    fn push(&mut self, path: Vec<String>, line: usize, imported: bool) {
        if line > 0 && !path.is_empty() {
            let path = self.resolve(path);
            self.used.push(Used { path, line, imported, local: false });
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

fn is_path_separator(tokens: &mut Tokens) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    let joint =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.spacing() == proc_macro2::Spacing::Joint);
    tokens.next_if(|token| is_colon(token) && joint(token)).is_some() && tokens.next_if(is_colon).is_some()
}

fn is_cfg_test(attribute: &TokenStream) -> bool {
    attribute.to_string().replace(' ', "") == "cfg(test)"
}

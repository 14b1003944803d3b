//! Which file of a crate imports what from which other, seen through re-exports.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::{
    contents::{self, FileContents, Used},
    sources::{SourceFile, module},
};

/// What one file imports from others: their paths, and the names.
pub(super) type Edges = BTreeMap<String, BTreeSet<String>>;

/// The files of all crates, without tests.
pub(super) struct Graph {
    files: BTreeMap<String, File>,
    /// By package and module.
    modules: BTreeMap<(String, Vec<String>), String>,
}

struct File {
    package: String,
    module: Vec<String>,
    contents: FileContents,
}

/// Where a path ends: in which file, and at which name in it; `None` for the module itself.
struct Place {
    file: String,
    name: Option<String>,
}

/// More re-exports than any name has; a circle of them ends there.
const MOST_HOPS: usize = 8;

impl Graph {
    /// Builds the graph of `sources`.
    ///
    /// # Errors
    /// If one of them is not Rust.
    pub(super) fn new(sources: &[SourceFile]) -> Result<Self> {
        let mut graph = Self { files: BTreeMap::new(), modules: BTreeMap::new() };
        for source in sources {
            let Some((package, inside)) = source.path.split_once("/src/") else { continue };
            if is_test(inside) {
                continue;
            }
            let module = module(&source.path);
            let contents = contents::read(&source.text, &module).with_context(|| source.path.clone())?;
            let package = package.to_owned();
            // A package may have two roots: [`Graph::root`] decides between them.
            if !module.is_empty() {
                graph.modules.insert((package.clone(), module.clone()), source.path.clone());
            }
            graph.files.insert(source.path.clone(), File { package, module, contents });
        }
        Ok(graph)
    }

    /// Returns the paths of all files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the paths that the file uses.
    pub(super) fn used(&self, path: &str) -> &[Used] {
        self.files.get(path).map_or(&[], |file| &file.contents.used)
    }

    /// Returns what the file at `path` imports from others. Declaring a module, or re-exporting what its own module defines,
    /// does not count.
    pub(super) fn edges(&self, path: &str) -> Edges {
        let mut edges = Edges::new();
        let Some(file) = self.files.get(path) else { return edges };
        for used in &file.contents.used {
            let handed_on = used.reexported && !file.contents.words.contains(&used.alias);
            let Some(full) = (!handed_on).then(|| self.absolute(file, used)).flatten() else { continue };
            let Some(place) = self.place(path, file, &full, 0) else { continue };
            // An imported module is used by the paths that start with it.
            let name = match place.name {
                Some(name) => name,
                None if used.alias == "*" => used.alias.clone(),
                None => continue,
            };
            if place.file != path {
                edges.entry(place.file).or_default().insert(name);
            }
        }
        edges
    }

    /// Returns the path from the crate's root, if it stays in the crate.
    fn absolute(&self, file: &File, used: &Used) -> Option<Vec<String>> {
        let (first, rest) = used.path.split_first()?;
        if first == "crate" {
            return Some(rest.to_vec());
        }
        let mut own = file.module.clone();
        own.push(first.clone());
        if self.modules.contains_key(&(file.package.clone(), own.clone())) {
            own.extend(rest.iter().cloned());
            return Some(own);
        }
        if used.imported {
            return None;
        }
        let import = file.contents.used.iter().find(|one| one.imported && one.alias == *first)?;
        let mut full = self.absolute(file, import)?;
        full.extend(rest.iter().cloned());
        Some(full)
    }

    /// Follows the path `full` of the file at `path` from the root of its crate.
    fn place(&self, path: &str, file: &File, full: &[String], hops: usize) -> Option<Place> {
        let module = |depth: usize| self.modules.get(&(file.package.clone(), full[..depth].to_vec()));
        let depth = (1..=full.len()).take_while(|depth| module(*depth).is_some()).last().unwrap_or(0);
        let at = if depth == 0 { self.root(path, file)? } else { module(depth)?.clone() };
        let Some(name) = full.get(depth) else { return Some(Place { file: at, name: None }) };
        let here = self.files.get(&at)?;
        if hops < MOST_HOPS && !here.contents.items.contains(name) {
            let imports = here.contents.used.iter().filter(|used| used.imported);
            let behind = imports
                .filter(|used| used.alias == *name || used.alias == "*")
                .find_map(|import| self.behind(&at, here, import, &full[depth..], hops));
            if behind.is_some() {
                return behind;
            }
        }
        Some(Place { file: at, name: Some(name.clone()) })
    }

    /// Returns where the path `rest` leads, which starts with a name that the file at `path` imports.
    fn behind(&self, path: &str, file: &File, import: &Used, rest: &[String], hops: usize) -> Option<Place> {
        let all = import.alias == "*";
        let mut full = self.absolute(file, import)?;
        full.extend(rest[usize::from(!all)..].iter().cloned());
        let place = self.place(path, file, &full, hops + 1)?;
        let defined = |name: &String| self.files[&place.file].contents.items.contains(name);
        // What a glob import does not define comes from elsewhere.
        (!all || place.name.as_ref().is_some_and(defined)).then_some(place)
    }

    /// Returns the root of the crate that contains the file at `path`: the one that declares the first module of its path.
    fn root(&self, path: &str, file: &File) -> Option<String> {
        let Some(first) = file.module.first() else { return Some(path.to_owned()) };
        let root = |name: &str| format!("{}/src/{name}.rs", file.package);
        let declares = |root: &String| self.files.get(root).is_some_and(|root| root.contents.items.contains(first));
        [root("lib"), root("main")].into_iter().find(declares)
    }
}

fn is_test(inside: &str) -> bool {
    inside.split('/').any(|part| part == "tests" || part == "tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let source =
            |(path, text): &(&str, &str)| SourceFile { path: format!("p/src/{path}"), text: (*text).to_owned() };
        Graph::new(&files.iter().map(source).collect::<Vec<_>>()).unwrap()
    }

    /// Returns the imports of `of`, as `file: name, name`.
    fn edges(graph: &Graph, of: &str) -> Vec<String> {
        let edge = |(file, names): (String, BTreeSet<String>)| {
            format!("{}: {}", &file["p/src/".len()..], names.into_iter().collect::<Vec<_>>().join(", "))
        };
        graph.edges(&format!("p/src/{of}")).into_iter().map(edge).collect()
    }

    #[test]
    fn what_is_taken_is_found_however_its_path_is_written() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub mod deep; pub struct A; pub const LIMIT: u8 = 1;"),
            ("a/deep.rs", "use super::A; pub fn run() -> u8 { super::LIMIT }"),
            ("b.rs", "use crate::a::{self, deep}; fn go() { deep::run(); a::deep::run(); let _ = a::LIMIT; }"),
            ("c.rs", "fn go() { crate::a::deep::run() } mod inner { use super::super::a::A as Other; }"),
        ]);
        assert_eq!(edges(&graph, "a/deep.rs"), ["a.rs: A, LIMIT"]);
        assert_eq!(edges(&graph, "b.rs"), ["a.rs: LIMIT", "a/deep.rs: run"]);
        assert_eq!(edges(&graph, "c.rs"), ["a.rs: A", "a/deep.rs: run"]);
        assert!(edges(&graph, "a.rs").is_empty() && edges(&graph, "lib.rs").is_empty());
    }

    #[test]
    fn a_name_is_taken_from_the_file_that_defines_it() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod deep; mod wide; pub use deep::Thing as Renamed; pub use wide::*;"),
            ("a/deep.rs", "pub struct Thing;"),
            ("a/wide.rs", "pub enum Wide {} pub struct Wider;"),
            ("b.rs", "use crate::a::{Renamed, Wide}; fn go(_: crate::a::Wider) {}"),
        ]);
        assert_eq!(edges(&graph, "b.rs"), ["a/deep.rs: Thing", "a/wide.rs: Wide, Wider"]);
    }

    #[test]
    fn handing_on_is_not_taking_unless_the_name_is_used() {
        let files = |text| graph(&[("lib.rs", "mod a;"), ("a.rs", text), ("a/deep.rs", "pub struct Thing;")]);
        assert!(edges(&files("mod deep; pub use deep::Thing;"), "a.rs").is_empty());
        let taken = ["a/deep.rs: Thing"];
        assert_eq!(edges(&files("mod deep; pub use deep::Thing; fn go(_: Thing) {}"), "a.rs"), taken);
        assert_eq!(edges(&files("mod deep; use deep::Thing;"), "a.rs"), taken);
        assert_eq!(edges(&files("mod deep; fn go() { deep::Thing; }"), "a.rs"), taken);
    }

    #[test]
    fn a_program_s_modules_have_its_own_root_and_tests_take_nothing() {
        let graph = graph(&[
            ("lib.rs", "pub mod plain; pub struct Shared;"),
            ("main.rs", "mod own; struct Fate;"),
            ("own.rs", "use crate::Fate; #[cfg(test)] mod tests { use crate::other::Thing; }"),
            ("plain.rs", "use crate::Shared;"),
            ("own/tests.rs", "use crate::plain::x;"),
        ]);
        assert_eq!(edges(&graph, "own.rs"), ["main.rs: Fate"]);
        assert_eq!(edges(&graph, "plain.rs"), ["lib.rs: Shared"]);
        assert_eq!(graph.paths().count(), 4);
    }

    #[test]
    fn names_that_are_handed_round_in_a_circle_end() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub use crate::b::Thing;"),
            ("b.rs", "pub use crate::a::Thing;"),
            ("c.rs", "use crate::a::Thing;"),
        ]);
        assert_eq!(edges(&graph, "c.rs").len(), 1);
    }
}

//! Which packages a release's program is made of, as cargo tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use toml::Table;

use super::target::ReleaseTarget;
use crate::shell::{capture, cargo, repo};

/// A package of other people that is compiled into the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence as an SPDX expression.
    pub(crate) licence: String,
    /// The SHA-256 of its archive, in hexadecimal.
    pub(crate) sha256: Option<String>,
    /// Where its sources are.
    pub(crate) folder: PathBuf,
}

/// What the program is made of.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// The packages, by name and version.
    pub(crate) parts: Vec<Part>,
    /// Compiler that made it: its version.
    pub(crate) rust: String,
}

/// The package whose program is shipped.
const SHIPPED: &str = "probe-user";

impl Metadata {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo or the lockfile cannot be read.
    pub(crate) fn read(target: &ReleaseTarget) -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--locked", "--features", "probe-ebpf/kernel"]);
        let text = capture(command.args(["--filter-platform", &target.triple]))?;
        let metadata = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let lock = fs::read_to_string(repo().join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let rust = capture(std::process::Command::new(rustc).current_dir(repo()).arg("--version"))?;
        let rust = rust.split_whitespace().nth(1).unwrap_or_default().to_owned();
        Ok(Self { parts: parts(&metadata, &sums(&lock)?)?, rust })
    }
}

/// Returns each package's sum in the lockfile, by name and version.
fn sums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: Table = lock.parse().context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let of = |package: &toml::Value| {
        let field = |name: &str| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    Ok(packages.filter_map(of).collect())
}

/// Follows what is linked from the shipped package; build scripts, macros' own programs and tests are not in it.
fn parts(metadata: &Value, sums: &BTreeMap<(String, String), String>) -> Result<Vec<Part>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .filter_map(|package| Some((package["id"].as_str()?.to_owned(), package)))
        .collect();
    let nodes: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .filter_map(|node| {
            Some((node["id"].as_str()?.to_owned(), list(&node["deps"]).iter().filter_map(linked).collect()))
        })
        .collect();
    let first = packages.iter().find(|(_, package)| package["name"] == SHIPPED).map(|(id, _)| id.clone());
    let mut rest = vec![first.with_context(|| format!("cargo metadata has no {SHIPPED}"))?];
    let mut seen = BTreeSet::new();
    let mut parts = BTreeSet::new();
    while let Some(id) = rest.pop() {
        let Some(package) = packages.get(&id).filter(|package| !is_macro(package)) else { continue };
        if !seen.insert(id.clone()) {
            continue;
        }
        rest.extend(nodes.get(&id).into_iter().flatten().cloned());
        // What has no source is this workspace's own.
        if !package["source"].is_null() {
            parts.insert(part(package, sums));
        }
    }
    Ok(parts.into_iter().collect())
}

/// Returns a dependency's package, if it is one of the kind that is linked.
fn linked(dependency: &Value) -> Option<String> {
    let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
    kinds.any(|kind| kind["kind"].is_null()).then(|| dependency["pkg"].as_str().map(str::to_owned))?
}

fn is_macro(package: &Value) -> bool {
    let mut targets = package["targets"].as_array().into_iter().flatten();
    targets.any(|target| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "proc-macro")))
}

fn part(package: &Value, sums: &BTreeMap<(String, String), String>) -> Part {
    let field = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let (name, version) = (field("name"), field("version"));
    let sha256 = sums.get(&(name.clone(), version.clone())).cloned();
    let folder = PathBuf::from(field("manifest_path")).parent().map(PathBuf::from).unwrap_or_default();
    // Old packages write MIT/Apache-2.0.
    Part { name, version, licence: field("license").replace('/', " OR "), sha256, folder }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_linked_is_a_part() {
        let package = |name: &str, source: Option<&str>, kind: &str| {
            json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": source,
                "manifest_path": format!("/r/{name}/Cargo.toml"), "targets": [{ "kind": [kind] }] })
        };
        let edge = |to: &str, kind: Option<&str>| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
        let registry = Some("registry+x");
        let metadata = json!({
            "packages": [package("probe-user", None, "lib"), package("a", registry, "lib"), package("b", registry, "lib"),
                package("m", registry, "proc-macro"), package("t", registry, "lib"), package("syn", registry, "lib")],
            "resolve": { "nodes": [
                { "id": "probe-user", "deps": [edge("a", None), edge("t", Some("dev")), edge("m", None)] },
                { "id": "a", "deps": [edge("b", None)] }, { "id": "b", "deps": [edge("a", None)] },
                { "id": "m", "deps": [edge("syn", None)] }] },
        });
        let sums = sums("[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n").unwrap();
        let parts = parts(&metadata, &sums).unwrap();
        assert_eq!(parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((parts[0].sha256.as_deref(), parts[0].licence.as_str()), (Some("ab"), "MIT OR Apache-2.0"));
    }
}

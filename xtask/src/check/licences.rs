//! Checks that every dependency may be used under a licence that `deny.toml` allows; cargo-deny reads the same file.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use toml::Table;

use crate::shell::{capture, cargo, repo};

/// Checks all packages that the lockfile names, on every platform.
///
/// # Errors
/// Names each package whose licence isn't allowed, or is unknown.
pub(crate) fn check() -> Result<()> {
    let rules = fs::read_to_string(repo().join("deny.toml")).context("cannot read deny.toml")?;
    let allowed = Allowed::parse(&rules)?;
    let metadata = capture(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let faults = faults(&serde_json::from_str(&metadata).context("cargo metadata is not JSON")?, &allowed);
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}

/// What `[licenses]` in `deny.toml` allows.
struct Allowed {
    everywhere: Vec<Licensee>,
    /// `[[licenses.exceptions]]`: packages that may have these too.
    exceptions: Vec<(String, Vec<Licensee>)>,
}

impl Allowed {
    fn parse(text: &str) -> Result<Self> {
        let rules: Table = text.parse().context("deny.toml is not TOML")?;
        let licenses = rules.get("licenses").and_then(toml::Value::as_table).context("deny.toml has no [licenses]")?;
        let exceptions = licenses.get("exceptions").and_then(toml::Value::as_array).into_iter().flatten();
        let exceptions = exceptions.map(|one| {
            let one = one.as_table().context("an exception in deny.toml is no table")?;
            let name = one.get("crate").and_then(toml::Value::as_str).context("an exception names no crate")?;
            Ok((name.to_owned(), licensees(one)?))
        });
        Ok(Self { everywhere: licensees(licenses)?, exceptions: exceptions.collect::<Result<_>>()? })
    }

    fn allows(&self, package: &str, licence: &Expression) -> bool {
        let mine = self.exceptions.iter().filter(|(name, _)| name == package).flat_map(|(_, more)| more);
        let all: Vec<&Licensee> = self.everywhere.iter().chain(mine).collect();
        licence.evaluate(|wanted| all.iter().any(|licensee| licensee.satisfies(wanted)))
    }
}

fn licensees(table: &Table) -> Result<Vec<Licensee>> {
    let allow = table.get("allow").and_then(toml::Value::as_array).context("deny.toml has no allow list")?;
    let parse = |one: &toml::Value| {
        let name = one.as_str().context("a licence in deny.toml is no string")?;
        Licensee::parse(name).with_context(|| format!("deny.toml allows {name}, which is no SPDX licence"))
    };
    allow.iter().map(parse).collect()
}

fn faults(metadata: &Value, allowed: &Allowed) -> Vec<String> {
    metadata["packages"].as_array().into_iter().flatten().filter_map(|package| fault(package, allowed)).collect()
}

fn fault(package: &Value, allowed: &Allowed) -> Option<String> {
    let name = package["name"].as_str().unwrap_or("?");
    let label = format!("{name} {}", package["version"].as_str().unwrap_or("?"));
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{label} names no licence"));
    };
    // Old packages write MIT/Apache-2.0.
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) if allowed.allows(name, &expression) => None,
        Ok(_) => Some(format!("{label}: {licence} is not allowed by deny.toml")),
        Err(error) => Some(format!("{label}: cannot read the licence {licence}: {}", error.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
        [[licenses.exceptions]]\ncrate = \"unicode-ident\"\nallow = [\"Unicode-3.0\"]\n";

    fn fault_of(name: &str, licence: Option<&str>) -> Option<String> {
        let package = json!({ "name": name, "version": "1.0.0", "license": licence });
        fault(&package, &Allowed::parse(RULES).unwrap())
    }

    #[test]
    fn one_allowed_side_of_an_or_is_enough_and_an_and_needs_both() {
        assert_eq!(fault_of("a", Some("MIT OR Apache-2.0")), None);
        assert_eq!(fault_of("a", Some("GPL-3.0-only OR (MIT AND Apache-2.0 WITH LLVM-exception)")), None);
        assert_eq!(fault_of("a", Some("MIT/Apache-2.0")), None);
        assert!(fault_of("a", Some("MIT AND GPL-3.0-only")).unwrap().contains("not allowed"));
    }

    #[test]
    fn an_exception_holds_for_its_package_only() {
        assert_eq!(fault_of("unicode-ident", Some("(MIT OR Apache-2.0) AND Unicode-3.0")), None);
        assert!(fault_of("a", Some("(MIT OR Apache-2.0) AND Unicode-3.0")).unwrap().contains("not allowed"));
    }

    #[test]
    fn a_licence_that_cannot_be_told_is_a_fault() {
        assert!(fault_of("a", None).unwrap().contains("names no licence"));
        assert!(fault_of("a", Some("Mine")).unwrap().contains("cannot read"));
    }

    #[test]
    fn rules_without_an_allow_list_are_refused() {
        assert!(Allowed::parse("[licenses]\n").is_err());
        assert!(Allowed::parse("[licenses]\nallow = [\"Nope\"]\n").is_err());
    }
}

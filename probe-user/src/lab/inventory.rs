//! The contents of a lab as comparable lines, to compare a running lab with a new one.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    baseline,
    error::{Capability, LabError},
    firewall::{self, SECURITY_GROUP},
    plan::LabHost,
    topology::Topology,
    wire,
};

/// The lines that describe one host.
type Lines = BTreeSet<String>;

/// Lists how the running lab differs from a new one, one clause each; empty if it does not.
pub fn changes(standing: &Topology, new: &Topology) -> Result<Vec<String>, LabError> {
    let mut changes = Vec::new();
    for host in LabHost::ALL {
        changes.extend(compare(host, &lines(standing, host)?, &lines(new, host)?));
    }
    Ok(changes)
}

fn compare(host: LabHost, is: &Lines, should_be: &Lines) -> Vec<String> {
    let name = host.name();
    let missing = should_be.difference(is).map(|line| format!("{name} lacks {line}"));
    let added = is.difference(should_be).map(|line| format!("{name} has {line}"));
    missing.chain(added).collect()
}

/// Lists the links, addresses, default routes, settings and rules of `host`.
fn lines(topology: &Topology, host: LabHost) -> Result<Lines, LabError> {
    let netns = topology.netns(host);
    let attempt = || format!("look at the network of {}", host.name());
    let mut lines =
        netns.run(network_lines)?.map_err(|source| LabError::system(attempt(), Capability::NetAdmin, source))?;
    lines.extend(netns.run(|| setting_lines(host))?);
    if host == LabHost::Fw {
        lines.extend(rule_lines(firewall::list(netns, &SECURITY_GROUP)?.as_deref()));
    }
    Ok(lines)
}

fn network_lines() -> std::io::Result<Lines> {
    let links = wire::links()?;
    let name = |index: u32| links.iter().find(|link| link.index == index).map_or("?", |link| link.name.as_str());
    let state = |ready: bool| if ready { "up" } else { "down" };
    let mut lines: Lines = links.iter().map(|link| format!("link {} {}", link.name, state(link.ready))).collect();
    for (index, address, prefix) in wire::addresses()? {
        lines.insert(format!("address {address}/{prefix} on {}", name(index)));
    }
    for gateway in wire::default_gateways()? {
        lines.insert(format!("default route via {gateway}"));
    }
    Ok(lines)
}

/// Returns the settings line by line, without those that this kernel does not have.
fn setting_lines(host: LabHost) -> Lines {
    let line = |path: String| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(&path)).ok()?;
        Some(format!("{}={}", path.replace('/', "."), value.trim()))
    };
    let baseline = baseline::settings().into_iter().map(|(path, _)| path);
    baseline.chain(host.settings().into_iter().map(|(path, _)| path.to_owned())).filter_map(line).collect()
}

/// Returns nft's listing line by line, without lines that only give it structure.
fn rule_lines(listing: Option<&str>) -> Lines {
    let Some(listing) = listing else { return Lines::new() };
    let says_something = |line: &&str| !line.is_empty() && *line != "}";
    listing.lines().map(str::trim).filter(says_something).map(|line| format!("rule '{line}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(words: &[&str]) -> Lines {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_missing_and_what_was_added_are_both_told() {
        let changes =
            compare(LabHost::Fw, &lines_of(&["link a down", "link b up"]), &lines_of(&["link a up", "link b up"]));
        assert_eq!(changes, ["fw lacks link a up", "fw has link a down"]);
        assert_eq!(compare(LabHost::A, &lines_of(&["x"]), &lines_of(&["x"])), [""; 0]);
    }

    #[test]
    fn rules_are_compared_line_by_line() {
        let listing = "table inet t {\n\tchain forward {\n\t\tdrop\n\t}\n}\n";
        let lines: Vec<_> = rule_lines(Some(listing)).into_iter().collect();
        assert_eq!(lines, ["rule 'chain forward {'", "rule 'drop'", "rule 'table inet t {'"]);
    }
}

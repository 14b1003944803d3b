//! File systems, other people's programs, and what probe left behind.

use std::path::PathBuf;

use caps::Capability;

use super::facts::{Facts, Left};
use crate::report::doctor::{Check, Group, State};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![bpffs(facts), cgroup2(&facts.mounts.cgroup2), nft(facts), ip(facts)];
    checks.extend(filters(&facts.left, &facts.probe("filter list"), &facts.probe("filter clear")));
    checks.extend(namespaces(&facts.left.namespaces, facts.probe("lab down")));
    checks
}

fn bpffs(facts: &Facts) -> Check {
    let may_mount = facts.privileges.as_ref().is_some_and(|privileges| privileges.holds(Capability::CAP_SYS_ADMIN));
    match facts.mounts.bpf.first() {
        Some(place) => Check::good(Group::System, "bpffs", format!("mounted at {}", place.display())),
        None if may_mount => Check::good(
            Group::System,
            "bpffs",
            "not mounted here; probe filter mounts it when it needs it ('ip netns exec' hides it: use nsenter --net)",
        ),
        None => Check::new(
            Group::System,
            "bpffs",
            State::Warning,
            "not mounted here, or hidden by 'ip netns exec': probe filter cannot pin its rules",
            facts.as_root("mount -t bpf bpf /sys/fs/bpf"),
        ),
    }
}

fn cgroup2(places: &[PathBuf]) -> Check {
    match places.first() {
        Some(place) => Check::good(Group::System, "cgroup2", format!("mounted at {}", place.display())),
        None => Check::unknown(
            Group::System,
            "cgroup2",
            "not mounted here: no hop needs it, but programs on cgroups may drop ping and are not seen",
        ),
    }
}

fn nft(facts: &Facts) -> Check {
    match facts.tools.get("nft") {
        Some(path) => Check::good(Group::System, "nft", path.display().to_string()),
        None => Check::new(
            Group::System,
            "nft",
            State::Broken,
            "not installed: probe lab has no firewall without it",
            install(facts, "nftables"),
        ),
    }
}

fn ip(facts: &Facts) -> Check {
    let package = match facts.installer {
        Some(words) if words.starts_with("dnf") || words.starts_with("yum") => "iproute",
        _ => "iproute2",
    };
    match facts.tools.get("ip") {
        Some(path) => Check::good(Group::System, "ip", path.display().to_string()),
        None => Check::new(
            Group::System,
            "ip",
            State::Warning,
            "not installed: probe works, but the fixes that it prints use it",
            install(facts, package),
        ),
    }
}

fn install(facts: &Facts, package: &str) -> String {
    match facts.installer {
        Some(words) => facts.as_root(&format!("{words} {package}")),
        None => format!("install the package {package}"),
    }
}

/// Rules outlive the command that made them by design; a lost ping may be one of them at work.
fn filters(left: &Left, list: &str, clear: &str) -> Option<Check> {
    if let Some(unread) = &left.unread {
        return Some(Check::unknown(Group::System, "filters", format!("cannot read {unread}")));
    }
    if left.filters.is_empty() {
        return None;
    }
    Some(Check::new(
        Group::System,
        "filters",
        State::Warning,
        format!("probe's own filters are pinned and may drop ping: {}", left.filters.join(", ")),
        format!("{list}   # to remove them: {clear}"),
    ))
}

fn namespaces(names: &[String], down: String) -> Option<Check> {
    (!names.is_empty()).then(|| {
        let detail = format!("the lab is up, or was left: {}", names.join(", "));
        Check::new(Group::System, "lab_namespaces", State::Warning, detail, down)
    })
}

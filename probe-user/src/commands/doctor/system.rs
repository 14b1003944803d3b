//! File systems, other programs, and what probe left behind.

use std::path::PathBuf;

use caps::Capability;

use super::facts::{Facts, Left};
use crate::report::doctor::{Check, CheckGroup, CheckStatus};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![bpffs(facts), cgroup2(&facts.mounts.cgroup2), nft(facts), ip(facts)];
    checks.extend(filters(&facts.left, &facts.probe("filter list"), &facts.probe("filter clear")));
    checks.extend(namespaces(&facts.left.namespaces, facts.probe("lab down")));
    checks
}

fn bpffs(facts: &Facts) -> Check {
    let may_mount = facts.privileges.as_ref().is_some_and(|privileges| privileges.holds(Capability::CAP_SYS_ADMIN));
    match facts.mounts.bpf.first() {
        Some(place) => Check::good(CheckGroup::System, "bpffs", format!("mounted at {}", place.display()))
            .value("path", place.to_string_lossy()),
        None if may_mount => Check::good(
            CheckGroup::System,
            "bpffs",
            "not mounted here; probe filter mounts it when it needs it ('ip netns exec' hides it: use nsenter --net)",
        ),
        None => Check::new(
            CheckGroup::System,
            "bpffs",
            CheckStatus::Warning,
            "not mounted here, or hidden by 'ip netns exec': probe filter cannot pin its rules",
            facts.as_root("mount -t bpf bpf /sys/fs/bpf"),
        ),
    }
}

fn cgroup2(places: &[PathBuf]) -> Check {
    match places.first() {
        Some(place) => Check::good(CheckGroup::System, "cgroup2", format!("mounted at {}", place.display()))
            .value("path", place.to_string_lossy()),
        None => Check::unknown(
            CheckGroup::System,
            "cgroup2",
            "not mounted here: no hop needs it, but cgroup programs that drop ping are not seen",
        ),
    }
}

fn nft(facts: &Facts) -> Check {
    match facts.tools.get("nft") {
        Some(path) => Check::good(CheckGroup::System, "nft", path.display().to_string()),
        None => Check::new(
            CheckGroup::System,
            "nft",
            CheckStatus::Broken,
            "not installed: probe lab needs it for its firewall",
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
        Some(path) => Check::good(CheckGroup::System, "ip", path.display().to_string()),
        None => Check::new(
            CheckGroup::System,
            "ip",
            CheckStatus::Warning,
            "not installed: probe works without it, but its suggested fixes use it",
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

/// Reports filters that are at work. Rules outlive the command that made them by design, and may be why a ping is lost.
fn filters(left: &Left, list: &str, clear: &str) -> Option<Check> {
    if let Some(unread) = &left.unread {
        return Some(Check::unknown(CheckGroup::System, "filters", format!("cannot read {unread}")));
    }
    if left.filters.is_empty() {
        return None;
    }
    Some(Check::new(
        CheckGroup::System,
        "filters",
        CheckStatus::Warning,
        format!("probe's own filters are pinned and may drop ping: {}", left.filters.join(", ")),
        format!("{list}   # to remove them: {clear}"),
    ))
}

fn namespaces(names: &[String], down: String) -> Option<Check> {
    (!names.is_empty()).then(|| {
        let detail = format!("the lab is running, or was left behind: {}", names.join(", "));
        Check::new(CheckGroup::System, "lab_namespaces", CheckStatus::Warning, detail, down)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::facts::tests::healthy;

    fn check(facts: &Facts, name: &str) -> Check {
        checks(facts).into_iter().find(|check| check.name == name).expect("the check")
    }

    #[test]
    fn a_tidy_system_has_nothing_to_say() {
        assert!(checks(&healthy(&[])).iter().all(|check| check.state == CheckStatus::Good));
    }

    #[test]
    fn a_missing_tool_is_told_with_what_installs_it() {
        let mut facts = healthy(&[]);
        facts.tools.clear();
        assert_eq!(check(&facts, "nft").fix, "sudo apt-get install nftables");
        assert_eq!(check(&facts, "ip").fix, "sudo apt-get install iproute2");
        facts.installer = Some("dnf install");
        assert_eq!(check(&facts, "ip").fix, "sudo dnf install iproute");
        facts.installer = None;
        assert_eq!(check(&facts, "nft").fix, "install the package nftables");
        assert_eq!(
            (check(&facts, "nft").state, check(&facts, "ip").state),
            (CheckStatus::Broken, CheckStatus::Warning)
        );
    }

    #[test]
    fn a_missing_bpffs_matters_only_to_those_who_cannot_mount_it() {
        let mut facts = healthy(&[Capability::CAP_SYS_ADMIN]);
        facts.mounts.bpf.clear();
        assert_eq!(check(&facts, "bpffs").state, CheckStatus::Good);
        let mut facts = healthy(&[]);
        facts.mounts.bpf.clear();
        assert_eq!(check(&facts, "bpffs").fix, "sudo mount -t bpf bpf /sys/fs/bpf");
    }

    #[test]
    fn what_probe_left_is_named_with_what_removes_it() {
        let mut facts = healthy(&[]);
        facts.left.filters.push("eth0".to_owned());
        facts.left.namespaces = vec!["probe-a".to_owned(), "probe-b".to_owned()];
        assert!(check(&facts, "filters").fix.ends_with("# to remove them: sudo probe filter clear"));
        assert_eq!(check(&facts, "lab_namespaces").fix, "sudo probe lab down");
        facts.left.unread = Some("/sys/fs/bpf/probe (Permission denied)".to_owned());
        assert_eq!(check(&facts, "filters").state, CheckStatus::Unknown);
    }
}

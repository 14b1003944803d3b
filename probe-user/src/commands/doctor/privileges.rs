//! What this user may do with probe.

use super::facts::Facts;
use crate::{
    ebpf::trial::TrialStep,
    error::Mend,
    host::privilege::{PrivilegeError, PrivilegedTask, Privileges, set_capabilities},
    report::doctor::{Check, CheckGroup, CheckStatus},
};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let Some(privileges) = &facts.privileges else {
        return vec![Check::unknown(CheckGroup::Privileges, "capabilities", "the kernel does not show them")];
    };
    vec![programs(facts, privileges), send(facts, privileges), lab(facts, privileges)]
}

/// Says how this user gets the missing privileges; [`PrivilegeError`]'s own fix does not know where the program is.
fn fix(facts: &Facts, error: &PrivilegeError) -> String {
    match error {
        PrivilegeError::Missing { .. } => {
            format!("{}   # for every user; or run probe with sudo", set_capabilities(&facts.program))
        }
        other => other.fix(),
    }
}

/// Checks the privileges to load programs, which `probe observe`, `receive` and `filter` all need.
fn programs(facts: &Facts, privileges: &Privileges) -> Check {
    match privileges.allow(PrivilegedTask::Observe) {
        Ok(()) => {
            Check::good(CheckGroup::Privileges, "programs", "observe, receive and filter may load and attach them")
        }
        Err(error) => {
            let detail = error.to_string().replacen("probe observe needs", "observe, receive and filter need", 1);
            Check::new(CheckGroup::Privileges, "programs", CheckStatus::Broken, detail, fix(facts, &error))
        }
    }
}

/// Whether this process may open a ping socket (`icmp(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PingSockets {
    /// One of its groups is in `ping_group_range`.
    Open,
    /// None is.
    Closed,
}

/// Checks whether this process may open ping sockets.
pub(super) fn ping_sockets(facts: &Facts) -> PingSockets {
    let range = facts.sysctls.get("net/ipv4/ping_group_range").and_then(|text| text.split_once(' '));
    let bounds = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<u32>().ok()?)));
    let open =
        bounds.is_some_and(|(first, last): (u32, u32)| facts.groups.iter().any(|group| (first..=last).contains(group)));
    if open { PingSockets::Open } else { PingSockets::Closed }
}

fn send(facts: &Facts, privileges: &Privileges) -> Check {
    match (privileges.allow(PrivilegedTask::SendRaw), ping_sockets(facts)) {
        (Ok(()), _) => Check::good(CheckGroup::Privileges, "send", "any echo packet with any id, through a raw socket"),
        (Err(error), PingSockets::Open) => Check::new(
            CheckGroup::Privileges,
            "send",
            CheckStatus::Warning,
            "requests only, with an id that the kernel chooses: anything else needs CAP_NET_RAW",
            fix(facts, &error),
        ),
        (Err(error), PingSockets::Closed) => Check::new(
            CheckGroup::Privileges,
            "send",
            CheckStatus::Broken,
            "CAP_NET_RAW is missing for raw sockets, and ping sockets are closed to this user",
            fix(facts, &error),
        ),
    }
}

fn lab(facts: &Facts, privileges: &Privileges) -> Check {
    let broken =
        |detail: String, fix: String| Check::new(CheckGroup::Privileges, "lab", CheckStatus::Broken, detail, fix);
    match (privileges.allow(PrivilegedTask::Lab), &facts.trials.namespace) {
        (Err(error @ PrivilegeError::Missing { .. }), _) => broken(error.to_string(), facts.probe("lab")),
        (Err(error), _) => broken(error.to_string(), error.fix()),
        (Ok(()), TrialStep::Works) => {
            Check::good(CheckGroup::Privileges, "lab", "may create network namespaces; one was tried")
        }
        (Ok(()), TrialStep::Refused(errno)) => broken(
            format!("the kernel refuses a network namespace: {} ({errno:?})", errno.desc()),
            "check sysctl user.max_net_namespaces, and the seccomp profile if this is a container".to_owned(),
        ),
        (Ok(()), TrialStep::Untried(why)) => Check::unknown(CheckGroup::Privileges, "lab", format!("not tried: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use caps::Capability::{CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_SYS_ADMIN};
    use nix::errno::Errno;

    use super::*;
    use crate::commands::doctor::facts::tests::healthy;

    fn states(facts: &Facts) -> Vec<(String, CheckStatus)> {
        checks(facts).into_iter().map(|check| (check.name, check.state)).collect()
    }

    #[test]
    fn each_task_is_judged_by_what_it_needs() {
        let observer = [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON];
        let all = [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_NET_RAW, CAP_SYS_ADMIN];
        let rows: [(&[caps::Capability], [CheckStatus; 3]); 3] = [
            (&[], [CheckStatus::Broken, CheckStatus::Warning, CheckStatus::Broken]),
            (&observer, [CheckStatus::Good, CheckStatus::Warning, CheckStatus::Broken]),
            (&all, [CheckStatus::Good, CheckStatus::Good, CheckStatus::Good]),
        ];
        for (capabilities, [programs, send, lab]) in rows {
            let expected = [("programs", programs), ("send", send), ("lab", lab)];
            assert_eq!(states(&healthy(capabilities)), expected.map(|(name, state)| (name.to_owned(), state)));
        }
    }

    #[test]
    fn without_raw_or_ping_sockets_nothing_can_be_sent() {
        let mut facts = healthy(&[]);
        facts.sysctls.insert("net/ipv4/ping_group_range", "1 0".to_owned());
        let send = checks(&facts).remove(1);
        assert_eq!(send.state, CheckStatus::Broken);
        assert!(
            send.fix.starts_with("sudo setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep probe"),
            "{}",
            send.fix
        );
        facts.groups.push(1);
        facts.sysctls.insert("net/ipv4/ping_group_range", "1 1".to_owned());
        assert_eq!(ping_sockets(&facts), PingSockets::Open, "a supplementary group counts");
    }

    #[test]
    fn a_refused_namespace_ends_the_lab() {
        let mut facts = healthy(&[CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN]);
        facts.trials.namespace = TrialStep::Refused(Errno::ENOSPC);
        let lab = checks(&facts).remove(2);
        assert_eq!(lab.state, CheckStatus::Broken);
        assert!(lab.detail.contains("ENOSPC") && lab.fix.contains("max_net_namespaces"), "{lab:?}");
    }
}

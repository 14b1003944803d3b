//! What this thread may do, and what each task of probe needs.

use std::{collections::BTreeSet, fs, io};

use caps::{CapSet, Capability};
use nix::unistd::{Uid, geteuid};

use crate::error::Mend;

/// A task that needs privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegedTask {
    /// `probe observe`.
    Observe,
    /// `probe receive`.
    Receive,
    /// `probe filter`.
    Filter,
    /// `probe send` through a raw socket: replies, or requests with a chosen id.
    SendRaw,
    /// `probe lab`.
    Lab,
    /// `probe diagnose`.
    Diagnose,
    /// `probe diagnose --as`.
    DiagnoseAs,
    /// `probe run`.
    Run,
    /// `probe agent`.
    Agent,
}

/// What programs at a hop need (`bpf_prog_load` in `kernel/bpf/syscall.c`; `CAP_PERFMON` for pointer arithmetic).
const ATTACH: &[Capability] = &[Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// The same, plus raw sockets.
const SEND_AND_ATTACH: &[Capability] =
    &[Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON, Capability::CAP_NET_RAW];

/// The same, plus becoming another user in another network namespace and cgroup.
const SEND_AS: &[Capability] = &[
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_ADMIN,
];

impl PrivilegedTask {
    /// Every task of a command that has no flags which need more.
    pub const ALL: [Self; 8] =
        [Self::Observe, Self::Receive, Self::Filter, Self::SendRaw, Self::Lab, Self::Diagnose, Self::Run, Self::Agent];

    /// Returns the command that the user types for it, without the program's name.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Receive => "receive",
            Self::Filter => "filter",
            Self::SendRaw => "send",
            Self::Lab => "lab",
            Self::Diagnose => "diagnose",
            Self::DiagnoseAs => "diagnose --as",
            Self::Run => "run",
            Self::Agent => "agent",
        }
    }

    /// Returns the capabilities that it needs. `CAP_SYS_ADMIN` includes those of attaching.
    pub const fn needs(self) -> &'static [Capability] {
        match self {
            Self::Observe | Self::Receive | Self::Filter => ATTACH,
            Self::Diagnose | Self::Run | Self::Agent => SEND_AND_ATTACH,
            Self::DiagnoseAs => SEND_AS,
            Self::SendRaw => &[Capability::CAP_NET_RAW],
            Self::Lab => &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_SYS_ADMIN],
        }
    }

    /// Reports whether it loads kernel programs, which the capabilities of a container's own user namespace do not allow.
    const fn loads_programs(self) -> bool {
        !matches!(self, Self::SendRaw)
    }
}

/// The user namespace whose capabilities a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// The machine's own.
    Initial,
    /// A container's, or one made by `unshare`: its root is not the machine's root.
    Own,
}

/// What this thread may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// The user that it acts as.
    pub user: Uid,
    /// Its effective capabilities, by number.
    effective: BTreeSet<u8>,
    /// The user namespace that they apply to.
    pub namespace: UserNamespace,
}

impl Privileges {
    /// Reads the privileges of the calling thread.
    ///
    /// # Errors
    /// [`PrivilegeError::Unknown`] if the kernel does not say, as under some seccomp profiles.
    pub fn of_this_thread() -> Result<Self, PrivilegeError> {
        let effective =
            caps::read(None, CapSet::Effective).map_err(|error| PrivilegeError::Unknown(io::Error::other(error)))?;
        // If /proc is not mounted, assume the machine's own namespace.
        let map = fs::read_to_string("/proc/thread-self/uid_map").unwrap_or_default();
        Ok(Self {
            user: geteuid(),
            effective: effective.iter().map(Capability::index).collect(),
            namespace: namespace(&map),
        })
    }

    /// Builds the privileges of `user` with these effective capabilities.
    pub fn new(user: Uid, effective: &[Capability], namespace: UserNamespace) -> Self {
        Self { user, effective: effective.iter().map(Capability::index).collect(), namespace }
    }

    /// Reports whether it holds that capability.
    pub fn holds(&self, capability: Capability) -> bool {
        self.effective.contains(&capability.index())
    }

    /// Returns the capabilities that it lacks for `task`.
    pub fn missing(&self, task: PrivilegedTask) -> Vec<Capability> {
        let by_admin = |capability: Capability| {
            matches!(
                task,
                PrivilegedTask::Observe
                    | PrivilegedTask::Receive
                    | PrivilegedTask::Filter
                    | PrivilegedTask::Diagnose
                    | PrivilegedTask::DiagnoseAs
                    | PrivilegedTask::Run
                    | PrivilegedTask::Agent
            ) && ATTACH.contains(&capability)
                && self.holds(Capability::CAP_SYS_ADMIN)
        };
        let lacks = |capability: &Capability| !self.holds(*capability) && !by_admin(*capability);
        task.needs().iter().copied().filter(lacks).collect()
    }

    /// Checks that it may do `task`.
    ///
    /// # Errors
    /// [`PrivilegeError::Missing`] or [`PrivilegeError::Contained`]: what is missing, and how to fix it.
    pub fn allow(&self, task: PrivilegedTask) -> Result<(), PrivilegeError> {
        let missing = self.missing(task);
        if !missing.is_empty() {
            return Err(PrivilegeError::Missing { task, missing });
        }
        if task.loads_programs() && self.namespace == UserNamespace::Own {
            return Err(PrivilegeError::Contained { task });
        }
        Ok(())
    }
}

/// Checks that the calling thread may do `task`. If the kernel does not say, it may: the next step will show.
///
/// # Errors
/// [`PrivilegeError::Missing`] or [`PrivilegeError::Contained`]: what is missing, and how to fix it.
pub fn require(task: PrivilegedTask) -> Result<(), PrivilegeError> {
    match Privileges::of_this_thread() {
        Ok(privileges) => privileges.allow(task),
        Err(_) => Ok(()),
    }
}

/// Parses `/proc/PID/uid_map`: only the machine's own namespace maps all 2^32 - 1 users to themselves.
fn namespace(uid_map: &str) -> UserNamespace {
    let mut words = uid_map.split_whitespace();
    let identity = [words.next(), words.next(), words.next()] == [Some("0"), Some("0"), Some("4294967295")];
    if identity || uid_map.trim().is_empty() { UserNamespace::Initial } else { UserNamespace::Own }
}

/// Why this thread may not do a task.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities are missing.
    #[error("probe {} needs {}, which this process does not have", .task.verb(), listed(.missing))]
    Missing {
        /// The task.
        task: PrivilegedTask,
        /// The missing capabilities.
        missing: Vec<Capability>,
    },
    /// The capabilities apply to a user namespace other than the machine's.
    #[error("root of a container's own user namespace may not load kernel programs, as probe {} does", .task.verb())]
    Contained {
        /// The task.
        task: PrivilegedTask,
    },
    /// The kernel does not say.
    #[error("cannot read this process's capabilities")]
    Unknown(#[source] io::Error),
}

impl Mend for PrivilegeError {
    fn fix(&self) -> String {
        match self {
            Self::Missing { task: PrivilegedTask::Lab, .. } => "sudo probe lab".to_owned(),
            Self::Missing { task, .. } => {
                let sudo = format!("sudo probe {} …", task.verb());
                match task {
                    // No user is to be let become every other one.
                    PrivilegedTask::DiagnoseAs => sudo,
                    _ => format!("{sudo}, or once: {}", set_capabilities("\"$(command -v probe)\"")),
                }
            }
            Self::Contained { .. } => {
                "run probe on the host, or in a container without a user namespace of its own (docker: --userns=host \
                 --privileged)"
                    .to_owned()
            }
            Self::Unknown(_) => "check that /proc is mounted".to_owned(),
        }
    }
}

/// Returns the command that lets every user of this machine observe, receive, filter and send with the program file
/// `program`. It sets all capabilities at once, as each `setcap` replaces those set before.
pub fn set_capabilities(program: &str) -> String {
    let needed = [ATTACH, PrivilegedTask::SendRaw.needs()].concat();
    let names: Vec<String> = needed.iter().map(|capability| capability.to_string().to_lowercase()).collect();
    format!("sudo setcap {}+ep {program}", names.join(","))
}

/// Joins capabilities for a sentence.
pub fn listed(capabilities: &[Capability]) -> String {
    let names: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn with(capabilities: &[Capability]) -> Privileges {
        Privileges::new(Uid::from_raw(1000), capabilities, UserNamespace::Initial)
    }

    #[test]
    fn nobody_is_told_what_is_missing_and_how_to_get_it() {
        let failure = Failure::from(with(&[]).allow(PrivilegedTask::Observe).expect_err("no privilege"));
        assert_eq!(
            failure.error,
            "probe observe needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, which this process does not have"
        );
        let setcap = "sudo setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep \"$(command -v probe)\"";
        assert_eq!(failure.fix, format!("sudo probe observe …, or once: {setcap}"));
        let failure = Failure::from(with(&[]).allow(PrivilegedTask::SendRaw).expect_err("no privilege"));
        assert!(failure.error.contains("needs CAP_NET_RAW,"), "{failure}");
    }

    #[test]
    fn only_what_is_missing_is_named() {
        let some = with(&[Capability::CAP_BPF, Capability::CAP_NET_ADMIN]);
        assert_eq!(some.missing(PrivilegedTask::Filter), [Capability::CAP_PERFMON]);
        assert_eq!(some.missing(PrivilegedTask::Lab), [Capability::CAP_NET_RAW, Capability::CAP_SYS_ADMIN]);
    }

    #[test]
    fn sys_admin_stands_for_bpf_but_not_for_raw_sockets() {
        let admin = with(&[Capability::CAP_SYS_ADMIN]);
        assert!(admin.allow(PrivilegedTask::Observe).is_ok());
        assert_eq!(admin.missing(PrivilegedTask::SendRaw), [Capability::CAP_NET_RAW]);
        assert_eq!(admin.missing(PrivilegedTask::Lab), [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
    }

    #[test]
    fn root_of_a_container_may_send_but_load_nothing() {
        let all = [ATTACH, &[Capability::CAP_NET_RAW, Capability::CAP_SYS_ADMIN]].concat();
        let contained = Privileges { namespace: UserNamespace::Own, ..with(&all) };
        assert!(contained.allow(PrivilegedTask::SendRaw).is_ok());
        assert!(matches!(
            contained.allow(PrivilegedTask::Filter),
            Err(PrivilegeError::Contained { task: PrivilegedTask::Filter })
        ));
    }

    #[test]
    fn the_machines_own_user_namespace_maps_everybody() {
        assert_eq!(namespace("         0          0 4294967295\n"), UserNamespace::Initial);
        assert_eq!(namespace(""), UserNamespace::Initial);
        assert_eq!(namespace("0 1000 1\n"), UserNamespace::Own);
        assert_eq!(namespace("0 100000 65536\n"), UserNamespace::Own);
    }
}

//! The facts that doctor judges, read once and unchanged.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User, getegid, geteuid, getgroups};
use probe_ebpf::contract::hop::{HOPS, Hop};

use super::{
    lockdown,
    mounts::{self, Mounts},
};
use crate::{
    ebpf::{
        foreign::{self, DevicePrograms},
        hops::availability::available,
        object,
        running::RunningKernel,
        trial::{self, Trials},
    },
    host::{
        command,
        device::{self, Device},
        privilege::{PrivilegedTask, Privileges},
    },
};

/// The facts. What could not be read is `None`.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// `uname -r`.
    pub(super) release: String,
    /// The user's name, or number.
    pub(super) user: String,
    /// How to type this program: its name if a shell finds it, otherwise its path.
    pub(super) program: String,
    pub(super) privileges: Option<Privileges>,
    pub(super) trials: Trials,
    /// Whether this binary carries its kernel half.
    pub(super) kernel_half: Result<(), object::Missing>,
    /// Hops that do not belong to a NIC: how each is watched, or why it is not.
    pub(super) hops: BTreeMap<Hop, Result<String, String>>,
    /// Bytes of the kernel's own BTF.
    pub(super) btf: Option<u64>,
    /// The text of `/sys/kernel/security/lockdown`.
    pub(super) lockdown: Option<String>,
    pub(super) mounts: Mounts,
    pub(super) left: Left,
    /// The values of [`SYSCTLS`] in this network namespace.
    pub(super) sysctls: BTreeMap<&'static str, String>,
    /// The groups of this process.
    pub(super) groups: Vec<u32>,
    /// Where [`TOOLS`] are.
    pub(super) tools: BTreeMap<&'static str, PathBuf>,
    /// The program that installs packages here, and its arguments.
    pub(super) installer: Option<&'static str>,
    pub(super) interfaces: Vec<Interface>,
    /// Whether one interface was asked for.
    pub(super) scope: Scope,
}

/// Which interfaces are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every one.
    All,
    /// The one that `-I` names.
    One,
}

/// An interface and the programs on it.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) device: Device,
    pub(super) attached: DevicePrograms,
}

/// What earlier commands of probe left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// What `probe filter` pinned, by name.
    pub(super) filters: Vec<String>,
    /// A folder that could not be read.
    pub(super) unread: Option<String>,
    /// Network namespaces of `probe lab`, by name.
    pub(super) namespaces: Vec<String>,
}

/// The settings below `/proc/sys` that decide about ping, and what the kernel calls the default.
pub(super) const SYSCTLS: [&str; 7] = [
    "kernel/unprivileged_bpf_disabled",
    "net/core/bpf_jit_enable",
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/icmp_echo_ignore_broadcasts",
    "net/ipv4/icmp_ratemask",
    "net/ipv4/ping_group_range",
    "net/ipv6/icmp/echo_ignore_all",
];

/// Other programs that probe or its user calls.
pub(super) const TOOLS: [&str; 2] = ["nft", "ip"];

/// Package managers, the most particular first, each as the words that install a package.
const INSTALLERS: [(&str, &str); 6] = [
    ("apt-get", "apt-get install"),
    ("dnf", "dnf install"),
    ("zypper", "zypper install"),
    ("pacman", "pacman -S"),
    ("apk", "apk add"),
    ("yum", "yum install"),
];

impl Facts {
    /// Examines this machine, and either all interfaces or the one called `only`.
    ///
    /// # Errors
    /// There is no such interface, or interfaces cannot be listed.
    pub(super) fn gather(only: Option<&str>) -> Result<Self, device::DeviceError> {
        let (devices, scope) = match only {
            Some(name) => (vec![Device::find(name)?], Scope::One),
            None => (Device::all()?, Scope::All),
        };
        let attached = foreign::attached(&devices);
        let interfaces = devices.into_iter().zip(attached);
        let mounts = mounts::read();
        Ok(Self {
            release: release(),
            user: user(geteuid()),
            program: program(),
            privileges: Privileges::of_this_thread().ok(),
            trials: trial::run(),
            kernel_half: object::bytes().map(drop),
            hops: other_hops(),
            btf: fs::metadata("/sys/kernel/btf/vmlinux").ok().map(|file| file.len()),
            lockdown: lockdown::read(),
            left: left(&mounts),
            mounts,
            sysctls: SYSCTLS.into_iter().filter_map(|name| Some((name, sysctl(name)?))).collect(),
            groups: groups(),
            tools: TOOLS.into_iter().filter_map(|name| Some((name, command::find(name)?))).collect(),
            installer: INSTALLERS.iter().find(|(name, _)| command::find(name).is_some()).map(|(_, words)| *words),
            interfaces: interfaces.map(|(device, attached)| Interface { device, attached }).collect(),
            scope,
        })
    }

    /// Returns a probe command as this user has to type it to run it as root.
    pub(super) fn probe(&self, words: &str) -> String {
        self.as_root(&format!("{} {words}", self.program))
    }

    /// Returns whether this process lacks the privileges for observing, which explains a refusal.
    pub(super) fn lacks_privilege(&self) -> bool {
        self.privileges.as_ref().is_some_and(|privileges| privileges.allow(PrivilegedTask::Observe).is_err())
    }

    /// Returns `command` as this user has to type it.
    pub(super) fn as_root(&self, command: &str) -> String {
        if self.privileges.as_ref().is_some_and(|privileges| privileges.user.is_root()) {
            command.to_owned()
        } else {
            format!("sudo {command}")
        }
    }
}

/// Tries the hops that do not belong to an interface.
fn other_hops() -> BTreeMap<Hop, Result<String, String>> {
    let kernel = RunningKernel::read();
    HOPS.iter().filter_map(|row| Some((row.hop, available(&kernel, row.hop)?))).collect()
}

fn release() -> String {
    nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

fn user(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| format!("user {user}"), |user| user.name)
}

fn program() -> String {
    let Ok(running) = env::current_exe() else { return "probe".to_owned() };
    let found = command::find("probe").and_then(|path| path.canonicalize().ok());
    if found.as_ref() == Some(&running) { "probe".to_owned() } else { command::quoted(&running.to_string_lossy()) }
}

fn groups() -> Vec<u32> {
    let mut groups = vec![getegid().as_raw()];
    groups.extend(getgroups().unwrap_or_default().iter().map(|group| group.as_raw()));
    groups
}

/// Reads a setting of this thread's network namespace, with runs of blanks collapsed.
fn sysctl(name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Lists what earlier commands left: pinned objects, and namespaces that `ip netns` shows.
fn left(mounts: &Mounts) -> Left {
    let mut left = Left::default();
    for folder in mounts.bpf.iter().map(|mount| mount.join("probe")) {
        match names_in(&folder) {
            Ok(names) => left.filters.extend(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => left.unread = Some(format!("{} ({error})", folder.display())),
        }
    }
    let namespaces = names_in(Path::new("/run/netns")).unwrap_or_default();
    left.namespaces = namespaces.into_iter().filter(|name| name.starts_with("probe-")).collect();
    left
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
pub(super) mod tests {
    use caps::Capability;
    use probe_ebpf::contract::hop::NIC_HOPS;

    use super::*;
    use crate::{
        ebpf::trial::{AttachMeans, HopTrial, TrialStep},
        host::privilege::UserNamespace,
    };

    /// Returns the facts of a user on a machine on which everything works.
    pub(in super::super) fn healthy(capabilities: &[Capability]) -> Facts {
        let works = |hop| HopTrial { hop, load: TrialStep::Works, means: AttachMeans::Tcx, attach: TrialStep::Works };
        let trials = Trials {
            map: TrialStep::Works,
            jit: Some(true),
            namespace: TrialStep::Works,
            hops: NIC_HOPS.into_iter().map(works).collect(),
        };
        let values = ["2", "1", "0", "1", "6168", "0 2147483647", "0"].map(str::to_owned);
        Facts {
            release: "6.12.1".to_owned(),
            user: "ada".to_owned(),
            program: "probe".to_owned(),
            privileges: Some(Privileges::new(Uid::from_raw(1000), capabilities, UserNamespace::Initial)),
            trials,
            kernel_half: Ok(()),
            hops: HOPS.iter().map(|row| (row.hop, Ok("a means".to_owned()))).collect(),
            btf: Some(5 << 20),
            lockdown: Some("[none] integrity confidentiality".to_owned()),
            mounts: Mounts { bpf: vec!["/sys/fs/bpf".into()], cgroup2: vec!["/sys/fs/cgroup".into()] },
            left: Left::default(),
            sysctls: SYSCTLS.into_iter().zip(values).collect(),
            groups: vec![1000],
            tools: TOOLS.into_iter().map(|name| (name, PathBuf::from("/usr/sbin").join(name))).collect(),
            installer: Some("apt-get install"),
            interfaces: Vec::new(),
            scope: Scope::All,
        }
    }

    #[test]
    fn a_path_can_be_pasted_whatever_is_in_it() {
        assert_eq!(command::quoted("/opt/probe-1.0/bin/probe"), "/opt/probe-1.0/bin/probe");
        assert_eq!(command::quoted("/home/o'neil/my tools/probe"), "'/home/o'\\''neil/my tools/probe'");
    }

    #[test]
    fn programs_are_found_where_a_users_path_does_not_lead() {
        assert!(command::find("sh").is_some());
        assert_eq!(command::find("no-such-program"), None);
    }
}

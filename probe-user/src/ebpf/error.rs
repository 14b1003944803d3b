//! What can go wrong between this process and the kernel, and how to fix it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};
use nix::errno::Errno;
use probe_ebpf::filter::MAX_RULES;

use super::{foreign::Owner, object, old_kernel};
use crate::host::privilege;
use crate::{error::Mend, filter::guard, host::device};

/// An error of the kernel half.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The maps could not be made, or the object could not be read.
    #[error("the kernel refuses probe's maps: {source}")]
    Load {
        /// Aya's error.
        source: Box<EbpfError>,
    },
    /// The verifier or the kernel's policy refused a program.
    #[error("the kernel refuses the program {name}: {}", last_lines(source))]
    LoadProgram {
        /// Its name.
        name: &'static str,
        /// Aya's error, with the verifier's log in its chain.
        source: Box<ProgramError>,
    },
    /// This kernel is older than what the programs for this hold.
    #[error("{what} Linux {}: this kernel lacks what the programs for that call", old_kernel::SINCE)]
    OldKernel {
        /// What can't be loaded, with the verb: `a guard needs`.
        what: &'static str,
    },
    /// The object lacks a program that this build expects.
    #[error("this probe's kernel half has no program {name}")]
    NoProgram {
        /// Its name.
        name: &'static str,
    },
    /// The object lacks a map that this build expects, or it is of another type.
    #[error("this probe's kernel half has no map {name}")]
    NoMap {
        /// Its name.
        name: &'static str,
    },
    /// A map can't be read or written.
    #[error("cannot use the map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Aya's error.
        source: Box<MapError>,
    },
    /// A map can't be mapped into this process's memory.
    #[error("cannot map {name} into memory: {source}")]
    Memory {
        /// Its name.
        name: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// A map can't be read or written by system call.
    #[error("cannot use the map {name}: {source}")]
    ReadMap {
        /// Its name.
        name: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another XDP program holds the interface.
    #[error("another XDP program is on {interface}: {by}")]
    XdpTaken {
        /// The interface.
        interface: String,
        /// The program there.
        by: String,
        /// Who owns it.
        owner: Owner,
    },
    /// XDP can't be attached.
    #[error("cannot attach XDP ({mode}) to {interface}: {source}")]
    AttachXdp {
        /// The interface.
        interface: String,
        /// In which mode.
        mode: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// XDP must stay off, and the command cannot work without it.
    #[error("no XDP on {interface}: {why}")]
    NoXdp {
        /// The interface.
        interface: String,
        /// Why.
        why: String,
    },
    /// The run's requests are to be answered or kept at the NIC, and no program can do that there.
    #[error("requests cannot be {what} at the NIC{}: {why}", at(interface.as_deref()))]
    NotAtNic {
        /// What was to happen to them: `answered`, `absorbed`.
        what: &'static str,
        /// The interface, if there is one.
        interface: Option<String>,
        /// Why not, as a clause for the user.
        why: String,
    },
    /// A tc program can't be attached.
    #[error("cannot attach to tc ({how}) of {interface}: {source}")]
    AttachTc {
        /// The interface.
        interface: String,
        /// Aya's error.
        how: &'static str,
        /// Aya's error.
        source: Box<ProgramError>,
    },
    /// A filter's program can't be replaced by one with other rules.
    #[error("cannot change the filter on {interface}: {source}")]
    Replace {
        /// Where.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The interface was removed while it was watched.
    #[error("the interface {interface} is gone")]
    Gone {
        /// The interface.
        interface: String,
    },
    /// Every slot of the filter is in use.
    #[error("this interface has {MAX_RULES} rules already, the most it can have")]
    RulesFull,
    /// A file can't be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What the file was to be used for.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map or link can't be pinned.
    #[error("cannot pin {}: {source}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Aya's error.
        source: PinError,
    },
    /// A build of probe with another ABI put the filter there.
    #[error("the filter on {interface} was made by another build of probe (ABI {theirs}, this one has {ours})")]
    OtherAbi {
        /// Where.
        interface: String,
        /// The ABI of the build that made it.
        theirs: u32,
        /// The ABI of this build.
        ours: u32,
    },
    /// The options of a guard contradict each other.
    #[error(transparent)]
    Guard(#[from] guard::options::GuardError),
    /// The interface has a guard already.
    #[error("{interface} has a guard already")]
    GuardThere {
        /// The interface.
        interface: String,
    },
    /// A guard that outlives its command needs TCX links, which can be pinned.
    #[error("cannot attach a guard that outlives this command to {interface}: {source}")]
    GuardNeedsTcx {
        /// The interface.
        interface: String,
        /// Aya's error.
        source: Box<ProgramError>,
    },
    /// This command has its own mounts, and bpffs is not among them.
    #[error("no bpffs in this mount namespace, and rules pinned in a private one would vanish with this command")]
    PrivateMounts,
    /// The same, for commands that only read or remove rules.
    #[error("no bpffs in this mount namespace: whether this network namespace has rules cannot be seen from here")]
    HiddenPins,
    /// An error about the interface.
    #[error(transparent)]
    Device(#[from] device::DeviceError),
    /// A capability is missing.
    #[error(transparent)]
    Privilege(#[from] privilege::PrivilegeError),
    /// This build has no kernel half.
    #[error(transparent)]
    Missing(#[from] object::Missing),
    /// The kernel does not say which processors are possible.
    #[error("cannot read {path}: {source}")]
    Processors {
        /// The file that should say it.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl KernelError {
    /// Wraps aya's error about the map `name`.
    pub(super) fn of_map(name: &'static str, source: MapError) -> Self {
        Self::Map { name, source: Box::new(source) }
    }
}

impl Mend for KernelError {
    fn fix(&self) -> String {
        match self {
            Self::Load { .. } | Self::LoadProgram { .. } | Self::Map { .. } | Self::ReadMap { .. } | Self::Pin { .. } => {
                "run it as root (sudo); probe doctor says what else this kernel needs".to_owned()
            }
            Self::XdpTaken { owner: Owner::Probe, .. } => {
                "count at tc instead with --xdp off; a filter (probe filter list) or a probe that watches there holds XDP"
                    .to_owned()
            }
            Self::XdpTaken { interface, .. } => format!(
                "count at tc instead with --xdp off, or detach it: ip link set dev {interface} xdp \
                 off, or end whoever holds it (bpftool link)"
            ),
            Self::AttachXdp { .. } => "try --xdp generic, or --xdp off".to_owned(),
            Self::NoXdp { .. } => "choose --xdp generic or --xdp native".to_owned(),
            Self::NotAtNic { what: "answered", .. } => {
                "leave the answer to the far kernel (without --responder) or to the agent (--responder agent)".to_owned()
            }
            Self::NotAtNic { .. } => "leave the answer to the far kernel: without --responder".to_owned(),
            Self::AttachTc { how, .. } if *how == "TCX" => "TCX needs Linux 6.6: try --tc clsact".to_owned(),
            Self::AttachTc { .. } => "probe doctor says what this kernel lacks".to_owned(),
            Self::Replace { interface, .. } => {
                format!("the previous rules still apply; to start over: probe filter clear -I {interface}")
            }
            Self::Gone { interface } => format!("start again once it is back: ip link show {interface}"),
            Self::Guard(error) => error.fix(),
            Self::GuardThere { interface } => {
                format!("remove it first: probe filter remove guard -I {interface}")
            }
            Self::GuardNeedsTcx { .. } => "pinning a guard needs TCX (Linux 6.6); on this kernel, use --until-exit".to_owned(),
            Self::RulesFull => "remove one: probe filter list, then probe filter remove NUMBER".to_owned(),
            Self::File { .. } => "run it as root (sudo)".to_owned(),
            Self::OtherAbi { interface, .. } => format!("remove it: probe filter clear -I {interface}"),
            Self::PrivateMounts | Self::HiddenPins => {
                "enter the network namespace alone, as nsenter --net=/run/netns/NAME probe … does (ip netns exec hides /sys/fs/bpf)"
                    .to_owned()
            }
            Self::Device(error) => error.fix(),
            Self::Privilege(error) => error.fix(),
            Self::Missing(error) => error.fix(),
            Self::OldKernel { .. } => "drop them on a host with a newer kernel, or with nft here".to_owned(),
            Self::NoProgram { .. } | Self::NoMap { .. } => "rebuild probe: cargo xtask build".to_owned(),
            Self::Memory { .. } => "free some memory, or raise the memory limit of this cgroup".to_owned(),
            Self::Processors { .. } => "mount sysfs: mount -t sysfs sysfs /sys".to_owned(),
        }
    }
}

fn at(interface: Option<&str>) -> String {
    interface.map(|interface| format!(" ({interface})")).unwrap_or_default()
}

/// Returns the last lines of the innermost cause: the verifier's log is long, and its end says why.
fn last_lines(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError { io_error, verifier_log } => format!("{io_error}: {verifier_log}"),
        other => other.to_string(),
    };
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

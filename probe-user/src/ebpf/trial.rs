//! Tries what works here by loading and attaching small programs: a version number does not say what a vendor's kernel, a
//! lockdown or a container refuses. Attaching happens on `lo` of a network namespace made and removed for it.

use std::{fmt, io, os::fd::OwnedFd, panic, thread};

use aya::programs::TcError;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};
use probe_ebpf::contract::hop::{Hop, NIC_HOPS};

use super::bpf_sys::{self, Instruction, ProgramType, XdpMode};

/// How one step of a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialStep {
    /// It worked.
    Works,
    /// The kernel refused, with this error.
    Refused(Errno),
    /// It could not be tried, and why.
    Untried(String),
}

impl TrialStep {
    fn of<T>(result: &io::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Works,
            Err(error) => Self::Refused(errno(error)),
        }
    }

    /// Reports whether it worked.
    pub fn works(&self) -> bool {
        *self == Self::Works
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// The means by which a hop is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMeans {
    /// An XDP link.
    Xdp,
    /// A TCX link.
    Tcx,
    /// A filter on a clsact qdisc.
    Clsact,
}

impl fmt::Display for AttachMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdp => "XDP link, generic",
            Self::Tcx => "TCX link",
            Self::Clsact => "clsact qdisc",
        })
    }
}

/// What was tried for one hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTrial {
    /// The hop.
    pub hop: Hop,
    /// Loading a program that reads packets the way probe's programs do.
    pub load: TrialStep,
    /// The means by which it was then attached.
    pub means: AttachMeans,
    /// Attaching it.
    pub attach: TrialStep,
}

/// What was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// Making a map.
    pub map: TrialStep,
    /// Whether programs are compiled to machine code; `None` if no program could be loaded.
    pub jit: Option<bool>,
    /// Making a network namespace, which the lab needs too.
    pub namespace: TrialStep,
    /// Each hop, in path order.
    pub hops: Vec<HopTrial>,
}

/// Tries everything, and removes whatever that made.
pub fn run() -> Trials {
    let map = TrialStep::of(&bpf_sys::create_map("probe_trial"));
    let loaded: Vec<(Hop, io::Result<OwnedFd>)> = NIC_HOPS.iter().map(|hop| (*hop, load(*hop))).collect();
    let jit = loaded
        .iter()
        .find_map(|(_, program)| bpf_sys::program_info(program.as_ref().ok()?).ok())
        .map(|info| info.machine_code_bytes > 0);
    let attached = in_new_namespace(|| loaded.iter().map(attach).collect::<Vec<_>>());
    let namespace = TrialStep::of(&attached);
    let attached = attached.unwrap_or_else(|error| {
        let why = format!("no network namespace could be made for it ({})", errno(&error).desc());
        NIC_HOPS.iter().map(|hop| (means(*hop), TrialStep::Untried(why.clone()))).collect()
    });
    let hops = loaded
        .iter()
        .zip(attached)
        .map(|((hop, program), (means, attach))| HopTrial { hop: *hop, load: TrialStep::of(program), means, attach })
        .collect();
    Trials { map, jit, namespace, hops }
}

/// Returns the means by which a hop is attached on the newest kernels.
const fn means(hop: Hop) -> AttachMeans {
    match hop {
        Hop::XdpIn => AttachMeans::Xdp,
        _ => AttachMeans::Tcx,
    }
}

/// Builds a program that passes every packet after checking its bounds, with the arithmetic for which the verifier demands
/// `CAP_PERFMON` (a number plus a packet pointer): a kernel that loads it loads probe's programs.
const fn reader(data: i16, data_end: i16, pass: i32) -> [Instruction; 7] {
    [
        Instruction::set(0, pass),
        Instruction::load_word(2, 1, data),
        Instruction::load_word(3, 1, data_end),
        Instruction::set(4, 14),
        Instruction::add(4, 2),
        Instruction::skip_if_greater(4, 3, 0),
        Instruction::exit(),
    ]
}

fn load(hop: Hop) -> io::Result<OwnedFd> {
    /// `XDP_PASS`, and `data` and `data_end` of `struct xdp_md`.
    const XDP: [Instruction; 7] = reader(0, 4, 2);
    /// `TC_ACT_UNSPEC`, and `data` and `data_end` of `struct __sk_buff`.
    const TC: [Instruction; 7] = reader(76, 80, -1);
    match hop {
        Hop::XdpIn => bpf_sys::load_program(ProgramType::Xdp, "probe_trial", &XDP),
        _ => bpf_sys::load_program(ProgramType::Tc, "probe_trial", &TC),
    }
}

/// Attaches a loaded program to `lo` of this thread's network namespace, and detaches it again.
fn attach((hop, program): &(Hop, io::Result<OwnedFd>)) -> (AttachMeans, TrialStep) {
    /// The index of `lo` in every network namespace (`LOOPBACK_IFINDEX`).
    const LO: u32 = 1;
    let means = means(*hop);
    let Ok(program) = program else { return (means, TrialStep::Untried("no program could be loaded for it".into())) };
    match hop {
        Hop::XdpIn => (means, TrialStep::of(&bpf_sys::link_xdp(program, LO, XdpMode::Generic))),
        _ => {
            match TrialStep::of(&bpf_sys::link_tcx(program, LO, hop.direction())) {
                // The answer of kernels before 6.6.
                TrialStep::Refused(Errno::EINVAL) => (AttachMeans::Clsact, clsact()),
                step => (means, step),
            }
        }
    }
}

/// Adds a clsact qdisc to `lo` of this thread's network namespace.
fn clsact() -> TrialStep {
    let code = match aya::programs::tc::qdisc_add_clsact("lo") {
        // The trial of the other direction has added it.
        Ok(()) | Err(TcError::AlreadyAttached) => return TrialStep::Works,
        Err(TcError::NetlinkError(error)) => error.raw_os_error(),
        Err(TcError::IoError(error)) => error.raw_os_error(),
        Err(_) => None,
    };
    match code.map_or(Errno::UnknownErrno, Errno::from_raw) {
        Errno::EEXIST => TrialStep::Works,
        errno => TrialStep::Refused(errno),
    }
}

/// Runs `work` in a network namespace of its own, which has only `lo` and is removed afterwards.
///
/// # Errors
/// Why no namespace could be made: EPERM without `CAP_SYS_ADMIN`, ENOSPC if there are too many.
pub fn in_new_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let on_own_thread = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(on_own_thread).join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::skip;

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn clsact_is_the_means_where_tcx_is_not() {
        if !is_root() {
            return skip("clsact_is_the_means_where_tcx_is_not", "root");
        }
        let twice = in_new_namespace(|| [clsact(), clsact()]).expect("a namespace");
        assert_eq!(twice, [TrialStep::Works, TrialStep::Works]);
    }

    #[test]
    fn work_in_a_new_namespace_sees_only_lo_and_leaves_this_one_alone() {
        if !is_root() {
            return skip("work_in_a_new_namespace_sees_only_lo_and_leaves_this_one_alone", "root");
        }
        let names = || {
            crate::host::device::Device::all().map(|all| all.into_iter().map(|device| device.name).collect::<Vec<_>>())
        };
        let before = names().expect("interfaces");
        // Tunnel drivers put an interface of their own into each new namespace, so there may be more than lo.
        let inside = in_new_namespace(names).expect("a namespace").expect("interfaces");
        assert_eq!(inside.first().map(String::as_str), Some("lo"));
        assert!(!inside.iter().any(|name| name == "eth0"), "{inside:?}");
        assert_eq!(names().expect("interfaces"), before);
    }

    #[test]
    fn an_unprivileged_trial_says_which_step_was_refused() {
        let step = TrialStep::of::<()>(&Err(Errno::EPERM.into()));
        assert_eq!(step, TrialStep::Refused(Errno::EPERM));
        assert!(!step.works() && TrialStep::of(&Ok(())).works());
    }
}

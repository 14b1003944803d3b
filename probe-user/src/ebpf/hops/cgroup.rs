//! `cgroup_skb` from the user side: one program per direction at the root of the cgroup hierarchy, which covers every
//! socket.

use std::{fs::File, path::PathBuf};

use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, cgroup_skb::CgroupSkbLink};
use nix::libc;
use probe_ebpf::{Direction, Hop};

use super::ProgramLookup;
use crate::host::cgroup::root;

/// The hops of this family.
pub const HOPS: [Hop; 2] = [Hop::CgroupOut, Hop::SocketIn];

/// Loads the program of `hop`, [`Hop::CgroupOut`] or [`Hop::SocketIn`], and attaches it; dropping the link detaches it.
///
/// # Errors
/// Why the hop is blind, as a clause for the user.
pub fn attach(programs: &mut impl ProgramLookup, hop: Hop) -> Result<CgroupSkbLink, String> {
    let root = available()?;
    let folder = File::open(&root).map_err(|error| format!("cannot open {}: {error}", root.display()))?;
    let side = match hop.direction() {
        Direction::In => CgroupSkbAttachType::Ingress,
        Direction::Out => CgroupSkbAttachType::Egress,
    };
    let name = hop.row().program;
    let program = programs.named(name).ok_or_else(|| format!("this probe's kernel half has no program {name}"))?;
    let program: &mut CgroupSkb =
        program.try_into().map_err(|_| format!("{name} in this probe's kernel half is not a cgroup program"))?;
    program.load().map_err(|error| format!("the kernel refuses {name}: {error}"))?;
    // A link implies `BPF_F_ALLOW_MULTI`, and the kernel refuses the flag on it.
    let link = program
        .attach(folder, side, CgroupAttachMode::Single)
        .and_then(|id| program.take_link(id))
        .map_err(|error| why(&error))?;
    tracing::info!("{name} attached to {}", root.display());
    Ok(link)
}

/// Returns the root of the cgroup hierarchy.
///
/// # Errors
/// Why there is none, as a clause for the user.
pub fn available() -> Result<PathBuf, String> {
    root().ok_or_else(|| "no cgroup2 file system is mounted here".to_owned())
}

fn why(error: &ProgramError) -> String {
    let errno = match error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
        _ => None,
    };
    match errno {
        Some(libc::EPERM) => "another cgroup program there allows no second one, or CAP_NET_ADMIN is missing",
        Some(libc::E2BIG) => "the cgroup already has the most programs it can have",
        _ => return format!("the kernel refuses to attach to the cgroup: {error}"),
    }
    .to_owned()
}

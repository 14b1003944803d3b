//! `cgroup_skb` from the user side: one program per direction at the root of the cgroup hierarchy, which covers every
//! socket.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, cgroup_skb::CgroupSkbLink};
use nix::{
    libc,
    sys::statfs::{CGROUP2_SUPER_MAGIC, statfs},
};
use probe_ebpf::{Direction, Hop};

use super::ProgramLookup;

/// The hops of this family.
pub const HOPS: [Hop; 2] = [Hop::CgroupOut, Hop::SocketIn];

/// The usual mount points of the unified hierarchy: alone, or beside the older ones.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

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

/// Returns where the root of the unified cgroup hierarchy is mounted, as this thread sees it: the whole hierarchy, or the
/// part of it that a container gets.
pub fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let usual = USUAL.into_iter().map(PathBuf::from);
    // A later mount may hide an earlier one.
    candidates(&mounts).into_iter().chain(usual).find(|path| is_cgroup2(path))
}

fn is_cgroup2(path: &Path) -> bool {
    let kind: io::Result<_> = statfs(path).map_err(io::Error::from);
    kind.is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Returns the cgroup2 mounts in a `/proc/PID/mountinfo` (`proc(5)`), those of the whole hierarchy first.
fn candidates(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (part, place) = (words.next()?, words.next()?);
        (after.split(' ').next() == Some("cgroup2")).then(|| (part != "/", PathBuf::from(place.replace("\\040", " "))))
    };
    let mut found: Vec<(bool, PathBuf)> = mountinfo.lines().filter_map(mount).collect();
    found.sort_by_key(|(is_part, _)| *is_part);
    found.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_hierarchy_comes_before_parts_of_it() {
        let table = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 /docker/1 /mnt/part rw,relatime shared:9 - cgroup2 cgroup2 rw
32 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
33 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
";
        assert_eq!(candidates(table), [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/part")]);
        assert_eq!(candidates("garbage\n"), Vec::<PathBuf>::new());
    }
}

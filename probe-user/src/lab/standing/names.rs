//! The names of namespaces, exactly as iproute2 keeps them: bind mounts on empty files in `/run/netns`.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
};
use serde::{Deserialize, Serialize};

use super::refused;
use crate::lab::{error::LabError, netns::Netns};

/// The lab's names, in path order.
pub const NAMES: [&str; 3] = ["probe-a", "probe-fw", "probe-b"];

/// Where iproute2 keeps the names.
const FOLDER: &str = "/run/netns";

/// How often to try to unmount the folder while it is busy, and how long to wait in between.
const UNMOUNT_ATTEMPTS: u32 = 20;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(1);

/// What exists under a name.
#[derive(Debug)]
pub(super) enum FoundName {
    /// Nothing.
    Absent,
    /// The file of a name that the lab was about to give or had just taken away.
    HalfMade,
    /// The lab's namespace.
    Ours(Netns),
    /// Something that the lab did not make.
    Foreign,
}

/// What the record says about a name.
pub(super) enum RecordedName {
    /// Nothing: what is there is not the lab's.
    Nothing,
    /// The namespace with this cookie.
    Cookie(u64),
    /// A namespace from before the machine started again: only its empty file can be left.
    Leftover,
}

/// What of the folder was there before the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MountMark {
    /// The folder, set up as iproute2 does: it stays.
    Mounted,
    /// The plain folder: it stays, without the mount.
    Folder,
    /// Neither: both go.
    Nothing,
}

impl MountMark {
    /// Looks up the state of the folder before anything is created.
    pub(super) fn before_naming() -> Result<Self, LabError> {
        let folder = Path::new(FOLDER);
        let Some(mount) = mount_id(folder)? else { return Ok(Self::Nothing) };
        let above = folder.parent().map(mount_id).transpose()?.flatten();
        Ok(if above == Some(mount) { Self::Folder } else { Self::Mounted })
    }
}

/// Returns the kernel's id of the mount that holds `path`, or `None` if there is no such path.
fn mount_id(path: &Path) -> Result<Option<u64>, LabError> {
    let attempt = || refused(format!("look at {}", path.display()));
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(attempt())?,
    };
    let info = format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd());
    let text = fs::read_to_string(info).map_err(attempt())?;
    Ok(text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok()))
}

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Looks up what exists under `name`.
pub(super) fn look(name: &str, expected: &RecordedName) -> Result<FoundName, LabError> {
    let path = path_of(name);
    let exists = fs::symlink_metadata(&path).is_ok();
    let netns = Netns::open(&path)?;
    Ok(match (netns, expected) {
        (None, _) if !exists => FoundName::Absent,
        (None, RecordedName::Cookie(_) | RecordedName::Leftover) => FoundName::HalfMade,
        (Some(netns), RecordedName::Cookie(cookie)) if netns.cookie()? == *cookie => FoundName::Ours(netns),
        _ => FoundName::Foreign,
    })
}

/// Makes the folder a shared mount, as iproute2 does and under its lock, so that names are visible in every mount
/// namespace.
pub(super) fn prepare_folder() -> Result<(), LabError> {
    let attempt = || refused(format!("prepare {FOLDER}"));
    fs::create_dir_all(FOLDER).map_err(attempt())?;
    let folder = fs::File::open(FOLDER).map_err(attempt())?;
    let _lock = Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| attempt()(errno.into()))?;
    let share = || mount(None::<&str>, FOLDER, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        // It is no mount yet, and only mounts can be shared.
        Err(Errno::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(FOLDER), FOLDER, None::<&str>, flags, None::<&str>).map_err(|errno| attempt()(errno.into()))?;
            share().map_err(|errno| attempt()(errno.into()))
        }
        result => result.map_err(|errno| attempt()(errno.into())),
    }
}

/// Gives `netns` its name. Refuses a name that was taken in the meantime.
pub(super) fn give(name: &str, netns: &Netns) -> Result<(), LabError> {
    let attempt = || refused(format!("name the network namespace {name}"));
    let path = path_of(name);
    match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(LabError::Foreign { name: name.into() });
        }
        result => drop(result.map_err(attempt())?),
    }
    let handle = format!("/proc/thread-self/fd/{}", netns.as_fd().as_raw_fd());
    let bound = mount(Some(handle.as_str()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.map_err(|errno| attempt()(errno.into()))
}

/// Removes a name, however often something was mounted on it.
pub(super) fn take_away(name: &str) -> Result<(), LabError> {
    let attempt = || refused(format!("remove the network namespace {name}"));
    let path = path_of(name);
    loop {
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // No mount is left on it, or nothing is there at all.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(attempt()(errno.into())),
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(attempt()),
    }
}

/// Restores the folder to its earlier state, unless others use it by now; then it stays, as iproute2 would leave it.
pub(super) fn undo_folder(mark: MountMark) {
    let empty = || fs::read_dir(FOLDER).is_ok_and(|mut entries| entries.next().is_none());
    if mark == MountMark::Mounted || !empty() {
        return;
    }
    for _ in 0..UNMOUNT_ATTEMPTS {
        match umount2(FOLDER, MntFlags::UMOUNT_NOFOLLOW) {
            // Somebody looks at the folder this very moment, or has given a name in it.
            Err(Errno::EBUSY) => thread::sleep(UNMOUNT_PAUSE),
            _ => break,
        }
    }
    // It fails if another process got there first, and that process is right.
    if mark == MountMark::Nothing {
        let _ = fs::remove_dir(FOLDER);
    }
}

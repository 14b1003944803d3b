//! A cgroup of this process's own, for programs that must see its sockets and nobody else's.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    process,
};

use super::error::FaultError;

/// What the names of these cgroups start with; the process id follows.
const NAME: &str = "probe-lab-faults-";

/// This process is a member of it until it is dropped; then the process is back where it was, and the cgroup is gone.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: File,
    path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    /// Creates a cgroup and moves this process into it; new sockets belong to it.
    pub(super) fn join() -> Result<Self, FaultError> {
        let root = mount_point().ok_or(FaultError::NoCgroup2)?;
        let before = own_path(&root).ok_or(FaultError::NoCgroup2)?;
        let path = root.join(format!("{NAME}{}", process::id()));
        let refused = |source| FaultError::System { attempt: format!("make the cgroup {}", path.display()), source };
        fs::create_dir(&path).map_err(refused)?;
        let folder = File::open(&path).map_err(refused)?;
        let cgroup = Self { folder, path: path.clone(), before };
        move_to(&path).map_err(refused)?;
        Ok(cgroup)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What stays after a failure here is an empty folder, which the next run sweeps away.
        if let Err(error) = move_to(&self.before).and_then(|()| fs::remove_dir(&self.path)) {
            tracing::warn!("{} was left behind: {error}", self.path.display());
        }
    }
}

/// Removes the cgroups that killed runs left behind, except those that still have a process. Returns how many it
/// removed.
pub fn sweep() -> usize {
    let Some(root) = mount_point() else { return 0 };
    let Ok(folders) = fs::read_dir(root) else { return 0 };
    let ours = folders.filter_map(Result::ok).filter(|file| file.file_name().to_string_lossy().starts_with(NAME));
    ours.filter(|folder| fs::remove_dir(folder.path()).is_ok()).count()
}

fn move_to(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), process::id().to_string())
}

/// Returns where cgroup2 is mounted.
fn mount_point() -> Option<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo").ok()?.lines().find_map(cgroup2_mount)
}

/// Returns the mount point in a line of `mountinfo` (`proc_pid_mountinfo(5)`), if it is of a cgroup2.
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    (file_system.split(' ').next() == Some("cgroup2")).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
}

/// Returns the folder of the cgroup that this process is in.
fn own_path(root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_cgroup2_is_told_from_those_of_version_1() {
        let v1 = "41 32 0:36 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        let v2 = "50 32 0:45 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(v1), None);
        assert_eq!(cgroup2_mount(v2), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }
}

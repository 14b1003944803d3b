//! The unified cgroup hierarchy (`cgroups(7)`): where it is mounted, what is in it, and where a unit of systemd has its own.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// The usual mount points of the unified hierarchy: alone, or beside the older ones.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How deep a unit may lie: users' units are some levels below those of the system.
const DEEPEST: usize = 12;

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

/// Returns the cgroup of the process `pid` below the root, as `/system.slice/app.service`; `None` where it cannot be read.
pub fn of(pid: u32) -> Option<String> {
    own_group(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?).map(str::to_owned)
}

/// Returns the cgroup of the calling thread in the same way.
pub fn of_this_thread() -> Option<String> {
    own_group(&fs::read_to_string("/proc/thread-self/cgroup").ok()?).map(str::to_owned)
}

/// Returns the cgroup of a `/proc/PID/cgroup` in the unified hierarchy.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| path.starts_with('/'))
}

/// Returns the folder of a cgroup that [`of`] tells; `None` if it lies outside of what is mounted at `root`, as that of a
/// process beside this one's container does, or is gone.
pub fn folder(root: &Path, cgroup: &str) -> Option<PathBuf> {
    let inside = Path::new(cgroup.trim_start_matches('/'));
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    let folder = root.join(inside);
    (plain && folder.is_dir()).then_some(folder)
}

/// Returns the folders of the unit `name` below `root`: the system's before those of users, who each have a manager.
pub fn units(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    for _ in 0..DEEPEST {
        let folders = |folder: &PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
        };
        level = level.iter().flat_map(folders).collect();
        found.extend(level.iter().filter(|folder| folder.file_name().is_some_and(|it| it == name)).cloned());
    }
    found.sort_by_key(|folder| folder.to_string_lossy().contains("/user@"));
    found
}

/// Returns the processes of a cgroup, and only where it has none itself those of the cgroups below it.
pub fn processes(folder: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let own: Vec<u32> = listed.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect();
    if !own.is_empty() {
        return own;
    }
    let below = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.flat_map(|entry| processes(&entry.path())).collect()
}

/// Reports whether all processes of a cgroup are frozen, so that one that enters it stands still.
pub fn is_frozen(folder: &Path) -> bool {
    let events = fs::read_to_string(folder.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_found_below_the_root_and_nowhere_else() {
        assert_eq!(own_group("12:cpu:/a\n0::/system.slice/ssh.service\n"), Some("/system.slice/ssh.service"));
        assert_eq!((own_group("0::/\n"), own_group("12:cpu:/a\n")), (Some("/"), None));
        let root = Path::new("/proc");
        assert_eq!(folder(root, "/self/net"), Some(PathBuf::from("/proc/self/net")));
        assert_eq!(folder(root, "/"), Some(PathBuf::from("/proc/")));
        assert_eq!((folder(root, "/../etc"), folder(root, "/no such cgroup")), (None, None));
    }

    #[test]
    fn a_unit_of_the_system_comes_before_those_of_users() {
        let root = std::env::temp_dir().join(format!("probe-units-{}", std::process::id()));
        let of_user = root.join("user.slice/user-7.slice/user@7.service/app.slice/app.service");
        let of_system = root.join("zz.slice/app.service");
        for folder in [&of_user, &of_system] {
            fs::create_dir_all(folder).expect("a folder of this test");
        }
        fs::write(of_user.join("cgroup.procs"), "").expect("a file of this test");
        fs::create_dir(of_user.join("inner")).expect("a folder of this test");
        fs::write(of_user.join("inner/cgroup.procs"), "0\n5\n7\n").expect("a file of this test");
        let found = (units(&root, "app.service"), units(&root, "app"), processes(&of_user));
        fs::remove_dir_all(&root).expect("it is ours");
        assert_eq!(found, (vec![of_system, of_user], Vec::new(), vec![5, 7]));
    }

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

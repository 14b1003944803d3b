//! Where the file systems are mounted that probe uses, as this thread sees them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

/// Mount points, in the order of the mount table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    pub(super) bpf: Vec<PathBuf>,
    pub(super) cgroup2: Vec<PathBuf>,
}

/// Reads the mount points that can be reached; others may be hidden beneath a later mount.
pub(super) fn read() -> Mounts {
    let mut mounts = parse(&fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default());
    mounts.bpf.retain(|path| is(path, BPF_FS_MAGIC));
    mounts.cgroup2.retain(|path| is(path, CGROUP2_SUPER_MAGIC));
    mounts
}

fn is(path: &Path, kind: FsType) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == kind)
}

/// Parses a `/proc/PID/mountinfo` (`proc(5)`): the fifth field is the mount point, the one after `-` the type.
fn parse(mountinfo: &str) -> Mounts {
    let mut mounts = Mounts::default();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(place) = before.split(' ').nth(4) else { continue };
        match after.split(' ').next() {
            Some("bpf") => add(&mut mounts.bpf, unescape(place)),
            Some("cgroup2") => add(&mut mounts.cgroup2, unescape(place)),
            _ => {}
        }
    }
    mounts
}

/// Adds a mount point once, even if mounted over: what lies beneath cannot be reached.
fn add(places: &mut Vec<PathBuf>, place: PathBuf) {
    if !places.contains(&place) {
        places.push(place);
    }
}

/// Decodes blanks and backslashes in a path, which are written in octal as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_by_their_type() {
        let table = "\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
31 23 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
33 23 0:29 / /sys/fs/bpf rw,nosuid shared:11 - bpf bpf rw,mode=700
40 23 0:29 / /mnt/two\\040words rw - bpf none rw
41 33 0:30 / /sys/fs/bpf rw shared:13 - bpf bpf rw,mode=700
";
        let mounts = parse(table);
        assert_eq!(mounts.bpf, [PathBuf::from("/sys/fs/bpf"), PathBuf::from("/mnt/two words")]);
        assert_eq!(mounts.cgroup2, [PathBuf::from("/sys/fs/cgroup/unified")]);
    }
}

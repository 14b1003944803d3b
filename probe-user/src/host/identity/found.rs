//! Finds whom to send as, and all by which the kernel tells that sender from others.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{
    libc,
    unistd::{Gid, Uid, User, getgrouplist},
};

use super::{FoundIdentity, Identity, IdentityError, NET_RAW, SocketRights, WantedIdentity, child};
use crate::{
    host::{cgroup, container, device::netns_inode, entrance::Entrance, process},
    model::sent_as::SentAs,
};

/// Finds whom `wanted` means, and takes it on once, so that what cannot be is told before anything else is done.
///
/// # Errors
/// There is nobody of that name, or it cannot be taken on.
pub fn find(wanted: &WantedIdentity) -> Result<FoundIdentity, IdentityError> {
    let mut found = match wanted {
        WantedIdentity::Process(pid) => of_process(*pid, format!("process {pid}"))?,
        WantedIdentity::Unit(name) => of_process(of_unit(name)?, format!("unit {name}"))?,
        WantedIdentity::Container(wanted) => {
            let (container, pid) = container::on_this_host(wanted)?;
            of_process(pid, container.to_string())?
        }
        WantedIdentity::User(name) => FoundIdentity { identity: of_user(name)?, entrance: None },
    };
    found.identity.try_on()?;
    Ok(found)
}

impl Identity {
    /// Takes it on for a socket that sends nothing. A label that the kernel does not let this process give is left out.
    fn try_on(&mut self) -> Result<(), IdentityError> {
        let trial = |identity: &Self| identity.socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0, SocketRights::Own);
        let mut tried = trial(self);
        if tried.as_ref().is_err_and(child::is_of_label) {
            self.sent_as.not_taken.extend(self.sent_as.label.take().map(|label| format!("its security label {label}")));
            tried = trial(self);
        }
        let name = || self.sent_as.name.clone();
        tried.map(drop).map_err(|source| IdentityError::NotTaken { name: name(), source })
    }
}

/// Returns the oldest process of a unit: its main one, unless that has ended before others.
fn of_unit(name: &str) -> Result<u32, IdentityError> {
    let root = cgroup::root().ok_or(IdentityError::NoCgroups)?;
    let mut folders = cgroup::units(&root, name);
    let of_user = |folder: &&PathBuf| folder.to_string_lossy().contains("/user@");
    let of_system = folders.iter().filter(|folder| !of_user(folder)).count();
    if of_system > 0 {
        // A unit of the system is meant where users have one of that name too, as `systemctl` has it.
        folders.truncate(of_system);
    }
    let name = name.to_owned();
    let folder = match folders.as_slice() {
        [] => return Err(IdentityError::NoUnit { name }),
        [folder] => folder,
        _ => return Err(IdentityError::AmbiguousUnit { name, folders }),
    };
    let oldest = cgroup::processes(folder).into_iter().min_by_key(|pid| process::started(*pid).unwrap_or(u64::MAX));
    oldest.ok_or(IdentityError::EmptyUnit { name })
}

fn of_user(name: &str) -> Result<Identity, IdentityError> {
    let unknown = || IdentityError::NoUser { name: name.to_owned() };
    let by_number = || name.parse().ok().and_then(|number| User::from_uid(Uid::from_raw(number)).ok().flatten());
    let user = User::from_name(name).ok().flatten().or_else(by_number).ok_or_else(unknown)?;
    let c_name = std::ffi::CString::new(user.name.as_str()).map_err(|_| unknown())?;
    let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    let own = Status::read("thread-self")?;
    // Root alone has rights of its own; every other user has those of the files that it starts.
    let held = if user.uid.is_root() { own.effective } else { 0 };
    let (capabilities, raw_by) = raw_by_file(held, &own, Path::new("/"));
    Ok(Identity {
        sent_as: SentAs {
            name: format!("user {}", user.name),
            user: Some(user.name),
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            raw_by,
            ..SentAs::default()
        },
        capabilities: capabilities & own.permitted,
        cgroup: None,
    })
}

fn of_process(pid: u32, name: String) -> Result<FoundIdentity, IdentityError> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    if !folder.exists() {
        return Err(IdentityError::NoProcess { pid });
    }
    let status = Status::read(&pid.to_string())?;
    if status.ended {
        return Err(IdentityError::Ended { name });
    }
    if namespace(&format!("/proc/{pid}/ns/user"))? != namespace("/proc/thread-self/ns/user")? {
        return Err(IdentityError::UserNamespace { name, pid });
    }
    let own = Status::read("thread-self")?;
    let (capabilities, raw_by) = raw_by_file(status.effective, &status, &folder.join("root"));
    let (cgroup_path, cgroup) = cgroup_of(pid, &name)?;
    let (label, mut not_taken) = label_of(pid);
    if status.seccomp && !own.seccomp {
        not_taken.push("its seccomp filter".to_owned());
    }
    if of_old_hierarchies(&pid.to_string()) != of_old_hierarchies("thread-self") {
        not_taken.push("its cgroup of net_cls".to_owned());
    }
    let uid = Uid::from_raw(status.uid);
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    // Opened before it may end.
    let entrance = Entrance::of_process(pid, name.clone())?;
    let here = netns_inode().ok();
    let elsewhere = fs::metadata(folder.join("ns/net")).ok().map(|it| it.ino()) != here;
    let sent_as = SentAs {
        name,
        pid: Some(pid),
        program: Some(process::program(pid)).filter(|program| !program.is_empty()),
        user,
        uid: status.uid,
        gid: status.gid,
        groups: status.groups,
        cgroup: cgroup_path,
        label,
        raw_by,
        not_taken,
    };
    Ok(FoundIdentity {
        // What probe does not hold it cannot give either.
        identity: Identity { sent_as, capabilities: capabilities & own.permitted, cgroup },
        entrance: elsewhere.then_some(entrance),
    })
}

/// Returns the cgroup of a process and its folder; none where it is that of this one.
fn cgroup_of(pid: u32, name: &str) -> Result<(Option<String>, Option<PathBuf>), IdentityError> {
    let of = cgroup::of(pid);
    let Some(path) = of.filter(|of| cgroup::of_this_thread().as_ref() != Some(of)) else { return Ok((None, None)) };
    let refused = |why| IdentityError::Cgroup { name: name.to_owned(), cgroup: path.clone(), folder: None, why };
    let root = cgroup::root().ok_or_else(|| refused("no cgroup2 file system is mounted here"))?;
    let folder = cgroup::folder(&root, &path).ok_or_else(|| refused("it lies outside of what is mounted here"))?;
    if cgroup::is_frozen(&folder) {
        let why = "it is frozen, and whoever enters it stands still";
        return Err(IdentityError::Cgroup { name: name.to_owned(), cgroup: path, folder: Some(folder), why });
    }
    Ok((Some(path), Some(folder)))
}

/// Returns the security label of a process, where it is another than this one's and sockets can be given it, and what cannot be
/// taken of it.
fn label_of(pid: u32) -> (Option<String>, Vec<String>) {
    let of = |who: &str| {
        let label = fs::read_to_string(format!("/proc/{who}/attr/current")).ok()?;
        Some(label.trim_end_matches(['\0', '\n']).to_owned()).filter(|label| !label.is_empty())
    };
    let Some(label) = of(&pid.to_string()).filter(|label| of("thread-self").as_ref() != Some(label)) else {
        return (None, Vec::new());
    };
    // Of the security modules SELinux alone gives a socket another label than that of its opener.
    if Path::new("/sys/fs/selinux/enforce").exists() {
        (Some(label), Vec::new())
    } else {
        (None, vec![format!("its security label {label}")])
    }
}

/// Returns the lines of a process's cgroups by which version 1 marks packets.
fn of_old_hierarchies(who: &str) -> Vec<String> {
    let groups = fs::read_to_string(format!("/proc/{who}/cgroup")).unwrap_or_default();
    groups.lines().filter(|line| line.contains("net_cls")).map(str::to_owned).collect()
}

/// Where a distribution keeps the program.
const PINGS: [&str; 4] = ["usr/bin/ping", "bin/ping", "usr/sbin/ping", "usr/local/bin/ping"];

/// Adds `CAP_NET_RAW` to what a sender holds, where it may start a `ping` whose file grants that; returns that file, too.
fn raw_by_file(held: u64, status: &Status, root: &Path) -> (u64, Option<String>) {
    if held & NET_RAW != 0 || status.no_new_privileges || status.bounding & NET_RAW == 0 {
        return (held, None);
    }
    let ping = PINGS.iter().find(|ping| grants_raw(&root.join(ping)));
    ping.map_or((held, None), |ping| (held | NET_RAW, Some(format!("/{ping}"))))
}

/// Reports whether a program may open raw sockets by its file: set to root, or with that capability permitted
/// (`struct vfs_cap_data` in `include/uapi/linux/capability.h`, of which the second word is the first of those permitted).
fn grants_raw(file: &Path) -> bool {
    const SET_USER_ID: u32 = 0o4000;
    let Ok(meta) = fs::metadata(file) else { return false };
    if meta.permissions().mode() & SET_USER_ID != 0 && meta.uid() == 0 {
        return true;
    }
    let Some(path) = file.to_str().and_then(|path| std::ffi::CString::new(path).ok()) else { return false };
    let mut data = [0_u8; 24];
    // SAFETY: both strings end with a zero, and the kernel writes at most as many bytes as `data` has.
    let got = unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), data.as_mut_ptr().cast(), 24) };
    let permitted = u32::from_le_bytes([data[4], data[5], data[6], data[7]]);
    got >= 8 && u64::from(permitted) & NET_RAW != 0
}

fn namespace(path: &str) -> Result<PathBuf, IdentityError> {
    fs::read_link(path).map_err(|source| IdentityError::Unread { path: path.to_owned(), source })
}

/// What `/proc/PID/status` tells (`proc_pid_status(5)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Status {
    ended: bool,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    effective: u64,
    permitted: u64,
    bounding: u64,
    no_new_privileges: bool,
    seccomp: bool,
}

impl Status {
    fn read(who: &str) -> Result<Self, IdentityError> {
        let path = format!("/proc/{who}/status");
        let unread = |source| IdentityError::Unread { path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(unread)?;
        Self::parse(&text).ok_or_else(|| unread(io::ErrorKind::InvalidData.into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
        let bits = |name| field(name).and_then(|value| u64::from_str_radix(value, 16).ok());
        let number = |name, at: usize| field(name)?.split_whitespace().nth(at)?.parse().ok();
        Some(Self {
            ended: field("State")?.starts_with(['Z', 'X']),
            // Sockets belong to the user by whom files are opened, and ping sockets are allowed by the effective group.
            uid: number("Uid", 3)?,
            gid: number("Gid", 1)?,
            groups: field("Groups")?.split_whitespace().filter_map(|group| group.parse().ok()).collect(),
            effective: bits("CapEff")?,
            permitted: bits("CapPrm")?,
            bounding: bits("CapBnd")?,
            no_new_privileges: field("NoNewPrivs").is_some_and(|value| value == "1"),
            seccomp: field("Seccomp").is_some_and(|value| value == "2"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_by_whom_files_are_opened_and_the_effective_group_are_taken() {
        let text = "Name:\tapp\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t100 27 \n\
                    CapPrm:\t0000000000002000\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let status = Status::parse(text).expect("a whole status");
        assert_eq!((status.uid, status.gid, status.groups.as_slice()), (4, 6, [100, 27].as_slice()));
        assert_eq!((status.effective, status.no_new_privileges, status.seccomp), (NET_RAW, true, true));
        assert!(!status.ended && Status::parse(&text.replace("S (sl", "Z (zo")).is_some_and(|status| status.ended));
        assert_eq!(Status::parse("Name:\tapp\n"), None);
    }

    #[test]
    fn a_file_grants_raw_sockets_only_where_new_rights_may_be_had() {
        let status = Status { bounding: u64::MAX, ..Status::default() };
        let nowhere = Path::new("/no such folder");
        assert_eq!(raw_by_file(0, &status, nowhere), (0, None));
        assert_eq!(raw_by_file(NET_RAW, &status, nowhere), (NET_RAW, None));
        let strict = Status { no_new_privileges: true, ..status };
        assert_eq!(raw_by_file(0, &strict, Path::new("/")), (0, None));
    }

    #[test]
    fn whom_there_is_not_is_told_in_one_sentence_with_its_fix() {
        use crate::error::Failure;
        let told = |wanted: &str| {
            let wanted = wanted.parse().expect("it is well formed");
            Failure::from(find(&wanted).expect_err("there is none")).to_string()
        };
        assert_eq!(told("4294967295"), "there is no process 4294967295 — `ps -e` lists them");
        assert!(
            told("user:no-such-user").starts_with("there is no user 'no-such-user' on this host — `getent passwd`")
        );
        assert!(told("container:no-such-container").starts_with("there is no container 'no-such-container'"));
    }
}

//! Network namespaces of this kernel by their inode: their names, and running work inside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    panic,
    path::{Path, PathBuf},
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use nix::sched::{CloneFlags, setns};

use super::{container, device::netlink, process};

/// Where `ip netns` keeps names.
pub(super) const NAMES: &str = "/run/netns";

/// A network namespace that was found, held open so that it stays what it is.
#[derive(Debug)]
pub struct Namespace {
    /// Its name for people.
    pub name: String,
    /// The prefix that runs a command in it.
    pub enter: String,
    /// Its inode.
    pub inode: u64,
    handle: File,
}

impl Namespace {
    /// Returns the namespace with this inode: by a name of `ip netns`, else by a process in it, else by one that holds it open.
    pub fn find(inode: u64) -> Option<Self> {
        let named = named(inode);
        // A name that a network plugin made up says less than the container it was made for.
        let made_up = named.as_ref().is_some_and(|named| named.name.starts_with("cni-"));
        let contained = || inhabited(inode).filter(|found| found.name.starts_with("container "));
        made_up.then(contained).flatten().or(named).or_else(|| inhabited(inode)).or_else(|| held(inode))
    }

    /// Reports whether it has a name of `ip netns`.
    pub fn is_named(&self) -> bool {
        self.enter.ends_with(&self.name) && self.enter.starts_with("ip netns exec ")
    }

    /// Returns the namespaces that have a name or a process, except the one with the inode `but`; at most `most`.
    pub fn all(but: u64, most: usize) -> Vec<Self> {
        let mut known = BTreeSet::from([but]);
        let named = entries(NAMES).filter_map(|path| fs::metadata(path).ok().map(|it| it.ino()));
        let inhabited = process::all().filter_map(|pid| of_link(&format!("/proc/{pid}/ns/net")));
        let inodes: Vec<u64> = named.chain(inhabited).filter(|inode| known.insert(*inode)).take(most).collect();
        inodes.into_iter().filter_map(Self::find).collect()
    }

    /// Runs `work` inside each of the namespaces that have a name or a process, except the one with the inode `but`; in
    /// at most `most` of them. Those that cannot be entered are left out.
    pub fn in_each<T: Send>(but: u64, most: usize, work: impl Fn() -> T + Send + Sync) -> Vec<T> {
        let mut known = BTreeSet::from([but]);
        let named = entries(NAMES);
        let inhabited = process::all().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
        let handles = named.chain(inhabited).filter_map(|path| {
            let inode = fs::metadata(&path).ok()?.ino();
            let (name, enter) = (String::new(), String::new());
            known
                .insert(inode)
                .then(|| File::open(path).ok().map(|handle| Self { name, enter, inode, handle }))
                .flatten()
        });
        let handles: Vec<Self> = handles.take(most).collect();
        handles.iter().filter_map(|namespace| namespace.run(&work).ok()).collect()
    }

    /// Runs `work` inside, on a thread of its own.
    ///
    /// # Errors
    /// This process may not enter it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let inside = || -> io::Result<T> {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        };
        thread::scope(|scope| {
            let worker = thread::Builder::new().name("probe-place".into()).spawn_scoped(scope, inside)?;
            worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
        })
    }
}

/// Returns the namespaces that have a name or a process and to which the calling thread's namespace gave an id, as it does with those
/// that a device of it leads to: their inodes by that id.
pub(super) fn by_id() -> BTreeMap<i32, u64> {
    let mut known = BTreeSet::new();
    let inhabited = process::all().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
    let handles = entries(NAMES).chain(inhabited).filter_map(|path| {
        let inode = fs::metadata(&path).ok()?.ino();
        known.insert(inode).then(|| Some((File::open(path).ok()?, inode))).flatten()
    });
    handles.filter_map(|(handle, inode)| Some((id_of(&handle)?, inode))).collect()
}

/// Returns the id that the calling thread's namespace has for another one; `None`: it has none.
fn id_of(handle: &File) -> Option<i32> {
    let mut request = NsidMessage::default();
    request.attributes.push(NsidAttribute::Fd(u32::try_from(handle.as_raw_fd()).ok()?));
    let messages = netlink::get(RouteNetlinkMessage::GetNsId(request)).ok()?;
    let attributes = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewNsId(message) => Some(message.attributes),
        _ => None,
    });
    attributes.flatten().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if id >= 0 => Some(id),
        _ => None,
    })
}

/// Returns the id that distinguishes this boot of this kernel from every other; empty if it cannot be read.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn opened(path: &Path, inode: u64) -> Option<File> {
    let handle = File::open(path).ok()?;
    (handle.metadata().ok()?.ino() == inode).then_some(handle)
}

/// Returns the paths of what is in a folder; nothing if it cannot be read.
pub(super) fn entries(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

fn named(inode: u64) -> Option<Namespace> {
    entries(NAMES).find_map(|path| {
        let handle = opened(&path, inode)?;
        let name = path.file_name()?.to_str()?.to_owned();
        Some(Namespace { enter: format!("ip netns exec {name}"), name, inode, handle })
    })
}

/// Returns whether the link at `path` leads to that namespace.
fn is_it(path: &Path, inode: u64) -> bool {
    fs::read_link(path).is_ok_and(|to| to.to_str().is_some_and(|to| to == format!("net:[{inode}]")))
}

/// Returns the inode of the namespace to which the link at `path` leads.
fn of_link(path: &str) -> Option<u64> {
    let to = fs::read_link(path).ok()?;
    to.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// How many processes are looked at for the oldest: one that was just started may be gone before a command that names it is typed.
const SOME: usize = 4;

/// Returns the oldest of the first few processes that `fits`.
fn oldest(fits: impl FnMut(&u32) -> bool) -> Option<u32> {
    process::all().filter(fits).take(SOME).min_by_key(|pid| process::started(*pid).unwrap_or(u64::MAX))
}

fn inhabited(inode: u64) -> Option<Namespace> {
    let namespace = |pid: u32| PathBuf::from(format!("/proc/{pid}/ns/net"));
    oldest(|pid| is_it(&namespace(*pid), inode)).and_then(|pid| {
        let handle = opened(&namespace(pid), inode)?;
        let name = if pid == 1 { "the host".to_owned() } else { called(pid) };
        Some(Namespace { name, enter: format!("nsenter -t {pid} -n"), inode, handle })
    })
}

/// Returns the name of the namespace in which this process lives: by its container, machine or service if it belongs to
/// one.
fn called(pid: u32) -> String {
    let resident = container::resident(Path::new("/"), pid, std::process::id());
    resident.unwrap_or_else(|| format!("{} (pid {pid})", process::program(pid)))
}

fn held(inode: u64) -> Option<Namespace> {
    let path = |pid: u32| entries(format!("/proc/{pid}/fd")).find(|path| is_it(path, inode));
    oldest(|pid| path(*pid).is_some()).and_then(|pid| {
        let path = path(pid)?;
        let handle = opened(&path, inode)?;
        let name = format!("{inode} (held by {}, pid {pid})", process::program(pid));
        Some(Namespace { name, enter: format!("nsenter --net={}", path.display()), inode, handle })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_this_process_is_found_and_its_link_is_told_from_others() {
        let inode = fs::metadata("/proc/self/ns/net").map(|it| it.ino()).expect("it is there");
        assert!(is_it(Path::new("/proc/self/ns/net"), inode));
        assert!(!is_it(Path::new("/proc/self/ns/net"), inode + 1));
        assert!(Namespace::find(inode).is_some());
        assert!(Namespace::find(1).is_none());
    }

    #[test]
    fn a_kernel_is_known_by_one_line() {
        assert_eq!(boot_id().len(), 36);
    }
}

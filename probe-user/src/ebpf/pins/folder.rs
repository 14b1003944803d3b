//! The folders of bpffs that hold what outlives its command: `KIND-ABI-NETNS-IFINDEX`, and what distinguishes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytemuck::{Pod, Zeroable};
use probe_ebpf::ABI_VERSION;

use crate::{
    ebpf::{KernelError, bpf_sys},
    host::device,
};

/// The folder of everything that probe pins.
pub(crate) const HOME: &str = "/sys/fs/bpf/probe";

/// What is pinned in a folder.
pub(crate) trait PinKind: Clone + Ord {
    /// How the names of its folders begin.
    const NAME: &'static str;

    /// Returns what ends the name of its folder, as builds of this ABI write it: a hyphen and a word, or nothing.
    fn suffix(&self, abi: u32) -> &'static str;

    /// Reads that word; `None` if it is no such folder.
    fn parse(word: Option<&str>) -> Option<Self>;
}

/// A folder of pins; its name says what they belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PinDir<K> {
    /// The ABI of the build that put them there.
    pub(crate) abi: u32,
    /// The inode number of the network namespace.
    pub(crate) netns: u64,
    /// The interface's index.
    pub(crate) ifindex: u32,
    /// What is pinned.
    pub(crate) kind: K,
}

impl<K: PinKind> PinDir<K> {
    /// Returns the folder that this build uses for an interface of this network namespace.
    pub(crate) fn of(ifindex: u32, kind: K) -> Result<Self, KernelError> {
        Ok(Self { abi: ABI_VERSION, netns: netns()?, ifindex, kind })
    }

    /// Reads the name of a folder; `None` if it belongs to something else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(K::NAME)?.strip_prefix('-')?.split('-');
        let place = Self {
            abi: parts.next()?.parse().ok()?,
            netns: parts.next()?.parse().ok()?,
            ifindex: parts.next()?.parse().ok()?,
            kind: K::parse(parts.next())?,
        };
        parts.next().is_none().then_some(place)
    }

    /// Returns its path.
    pub(crate) fn folder(&self) -> PathBuf {
        let suffix = self.kind.suffix(self.abi);
        Path::new(HOME).join(format!("{}-{}-{}-{}{suffix}", K::NAME, self.abi, self.netns, self.ifindex))
    }

    /// Returns every one that has a folder, of this network namespace or another, of this build or another.
    pub(crate) fn all() -> Vec<Self> {
        let Ok(files) = fs::read_dir(HOME) else { return Vec::new() };
        let names = files.filter_map(Result::ok).filter_map(|file| file.file_name().into_string().ok());
        let mut places: Vec<Self> = names.filter_map(|name| Self::parse(&name)).collect();
        places.sort();
        places
    }

    /// Returns those of this network namespace, of any build.
    pub(crate) fn here() -> Result<Vec<Self>, KernelError> {
        let netns = netns()?;
        Ok(Self::all().into_iter().filter(|place| place.netns == netns).collect())
    }

    /// Checks that this build can read what is pinned.
    ///
    /// # Errors
    /// [`KernelError::OtherAbi`] if a probe of another build put it there.
    pub(crate) fn is_readable(&self) -> Result<(), KernelError> {
        if self.abi == ABI_VERSION {
            return Ok(());
        }
        let interface = device::name_of(self.ifindex).unwrap_or_else(|_| format!("interface {}", self.ifindex));
        Err(KernelError::OtherAbi { interface, theirs: self.abi, ours: ABI_VERSION })
    }

    /// Forgets the links, then all else in the folder and the folder itself, and [`HOME`] with the last of them.
    pub(crate) fn forget(&self, links: &[PathBuf]) -> Result<(), KernelError> {
        let folder = self.folder();
        let forget_all = || {
            links.iter().try_for_each(|link| gone(fs::remove_file(link)))?;
            gone(fs::remove_dir_all(&folder))
        };
        forget_all().map_err(|source| KernelError::File { doing: "remove", path: folder.clone(), source })?;
        // Goes with the last of what probe pinned; stays while there is more.
        let _ = fs::remove_dir(HOME);
        Ok(())
    }
}

/// Takes the program of a pinned link off its hook. If this fails, the link still goes with its pin, but the interface
/// stays taken for a while.
pub(crate) fn detach(link: &Path) {
    if link.exists()
        && let Err(error) = bpf_sys::open_pin(link).and_then(|link| bpf_sys::detach_link(&link))
    {
        tracing::debug!("{} is not detached: {error}", link.display());
    }
}

/// Accepts ENOENT: what is gone need not be removed.
pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the inode number of this thread's network namespace.
pub(crate) fn netns() -> Result<u64, KernelError> {
    device::netns_inode().map_err(|source| KernelError::File {
        doing: "read",
        path: "/proc/thread-self/ns/net".into(),
        source,
    })
}

/// The first part of `struct bpf_link_info`, as links of XDP and TCX fill it in.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LinkInfo {
    kind: u32,
    id: u32,
    pub(super) program_id: u32,
    padding: u32,
    /// 0: the interface is gone.
    pub(super) ifindex: u32,
    more: u32,
}

/// Returns the interface that the XDP or TCX link pinned at `path` holds; 0: it is gone.
pub(crate) fn link_ifindex(path: &Path) -> io::Result<u32> {
    Ok(link_info(path)?.ifindex)
}

pub(super) fn link_info(path: &Path) -> io::Result<LinkInfo> {
    bpf_sys::object_info(&bpf_sys::open_pin(path)?)
}

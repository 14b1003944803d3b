//! A network namespace that is owned: work runs inside it on other threads, and it is removed with its owner.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    panic,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

use super::{
    baseline,
    error::{Capability, LabError},
};
use crate::host::device::netns_cookie;

/// A handle of a network namespace. The kernel removes the namespace, with every link and rule in it, as soon as no
/// handle, name, process or socket holds it: without a name, at the latest when this process ends in any way.
#[derive(Clone, Debug)]
pub struct Netns {
    handle: Arc<OwnedFd>,
    inode: u64,
}

impl Netns {
    /// Creates an unnamed namespace with the settings of [`baseline`].
    pub fn new() -> Result<Self, LabError> {
        let refused = |source| LabError::system("make a network namespace", Capability::SysAdmin, source);
        let make = || -> Result<File, LabError> {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| refused(errno.into()))?;
            baseline::apply()?;
            File::open("/proc/thread-self/ns/net").map_err(refused)
        };
        // A thread of its own: the caller's namespace stays what it is.
        let file = on_own_thread(make).map_err(refused)??;
        Self::from_file(file).map_err(refused)
    }

    /// Opens the namespace at `path`, as `ip netns` names them. Returns `None` if there is no namespace.
    pub fn open(path: &Path) -> Result<Option<Self>, LabError> {
        let refused = |source| LabError::system(format!("open {}", path.display()), Capability::SysAdmin, source);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(refused)?,
        };
        let kind = fstatfs(&file).map_err(|errno| refused(errno.into()))?.filesystem_type();
        if kind == NSFS_MAGIC { Self::from_file(file).map(Some).map_err(refused) } else { Ok(None) }
    }

    fn from_file(file: File) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        Ok(Self { handle: Arc::new(file.into()), inode })
    }

    /// Returns the inode number, as `readlink /proc/PID/ns/net` shows it. It is unique among the namespaces that exist
    /// now.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Returns the kernel's cookie of this namespace, which is never reused until the next boot.
    pub fn cookie(&self) -> Result<u64, LabError> {
        let refused = |source| LabError::system("read the cookie of a network namespace", Capability::SysAdmin, source);
        self.run(netns_cookie)?.map_err(refused)
    }

    /// Runs `work` inside, on a new thread, and returns its value; a panic in it continues here. Files and sockets that
    /// it opens stay in this namespace wherever they are used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let inside = || -> io::Result<T> {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        };
        on_own_thread(inside)
            .and_then(|done| done)
            .map_err(|source| LabError::system("enter a network namespace", Capability::SysAdmin, source))
    }

    /// Returns a command whose process runs inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let handle = Arc::clone(&self.handle);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes one system call and touches no memory but its captured
        // descriptor; it neither allocates nor locks. Turning an errno into an io::Error does not allocate either.
        unsafe {
            command.pre_exec(move || setns(&handle, CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
        }
        command
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Runs `work` on a thread that ends with it, so that changes to its namespace do not outlive it.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("probe-netns".into()).spawn_scoped(scope, work)?;
        Ok(worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

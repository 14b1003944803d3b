//! The child that becomes somebody else for the time of one socket(2).
//!
//! It is a copy of one thread of a process with several, so that it may call nothing but the kernel, and allocates nothing. It
//! shares the table of files with its parent, where the socket stays when it has ended. It is killed where it takes too
//! long, or its parent ends before it: nobody stays behind in another's cgroup.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicI32, Ordering},
};

use nix::{
    errno::Errno,
    libc::{self, c_int, c_long, c_ulong},
    poll::{PollFd, PollFlags, poll},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous, munmap},
        signal::{SigSet, SigmaskHow, pthread_sigmask},
    },
};
use std::os::fd::AsFd;

use super::Identity;

/// How long it may take, in milliseconds: far more than it does.
const LIMIT_MS: u16 = 2000;

/// The steps of the child, in their order, as what could not be done.
const STEPS: [&str; 8] = [
    "stay a child",
    "enter the cgroup",
    "take the security label",
    "keep rights over the change of the user",
    "take the groups",
    "take the user",
    "take the capabilities",
    "open the socket",
];
const STAY: usize = 0;
const CGROUP: usize = 1;
const LABEL: usize = 2;
const KEEP: usize = 3;
const GROUPS: usize = 4;
const USER: usize = 5;
const CAPABILITIES: usize = 6;
const SOCKET: usize = 7;

/// What the child tells, in memory that it shares with its parent.
struct Told {
    step: AtomicI32,
    errno: AtomicI32,
    socket: AtomicI32,
}

/// All that the child needs, made before it is there.
struct Order {
    parent: libc::pid_t,
    cgroup: Option<RawFd>,
    label: Option<CString>,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    capabilities: [CapabilityData; 2],
    socket: [c_int; 3],
}

/// `struct __user_cap_header_struct` of `include/uapi/linux/capability.h`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`, of which there are two: for the lower and the upper 32 bits.
#[repr(C)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// A failed step other than socket(2).
#[derive(Debug, thiserror::Error)]
#[error("cannot {}: {}", STEPS[*step], errno.desc())]
struct NotTaken {
    step: usize,
    errno: Errno,
}

/// Reports whether `error` is that the kernel refused the label.
pub(super) fn is_of_label(error: &io::Error) -> bool {
    let step = error.get_ref().and_then(|inner| inner.downcast_ref::<NotTaken>()).map(|failed| failed.step);
    step == Some(LABEL)
}

/// Opens a socket with these three numbers of socket(2) as `identity`, with these capabilities.
pub(super) fn open(identity: &Identity, capabilities: u64, socket: [c_int; 3]) -> io::Result<OwnedFd> {
    let cgroup =
        identity.cgroup.as_ref().map(|folder| OpenOptions::new().write(true).open(folder.join("cgroup.procs")));
    let cgroup: Option<File> =
        cgroup.transpose().map_err(|error| failed(CGROUP, Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
    let word = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        CapabilityData { effective: bits, permitted: bits, inheritable: 0 }
    };
    let order = Order {
        parent: nix::unistd::getpid().as_raw(),
        cgroup: cgroup.as_ref().map(AsRawFd::as_raw_fd),
        label: identity.sent_as.label.as_ref().and_then(|label| CString::new(label.as_str()).ok()),
        uid: identity.sent_as.uid,
        gid: identity.sent_as.gid,
        groups: identity.sent_as.groups.clone(),
        capabilities: [word(capabilities), word(capabilities >> 32)],
        socket,
    };
    let shared = SharedTold::new()?;
    let (ended, opened) = run(&order, shared.told())?;
    if let Some(opened) = opened {
        return Ok(opened);
    }
    let step = usize::try_from(shared.told().step.load(Ordering::Acquire)).unwrap_or_default();
    let errno = Errno::from_raw(shared.told().errno.load(Ordering::Acquire));
    match (ended, errno as i32, step) {
        (false, ..) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("cannot {}: it took too long", STEPS[step])))
        }
        (true, 0, _) => Err(io::Error::other(format!("cannot {}: something ended the child that was to", STEPS[step]))),
        (true, errno, SOCKET) => Err(io::Error::from_raw_os_error(errno)),
        (true, _, step) => Err(failed(step, errno)),
    }
}

fn failed(step: usize, errno: Errno) -> io::Error {
    io::Error::other(NotTaken { step, errno })
}

/// A page of memory that a child shares.
struct SharedTold(std::ptr::NonNull<Told>);

impl SharedTold {
    fn new() -> io::Result<Self> {
        let size = std::num::NonZeroUsize::new(size_of::<Told>()).expect("it has fields");
        // SAFETY: the kernel chooses the place of new memory, which nothing else refers to.
        let page =
            unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED) }?;
        let page: std::ptr::NonNull<Told> = page.cast();
        let start = Told { step: AtomicI32::new(0), errno: AtomicI32::new(0), socket: AtomicI32::new(-1) };
        // SAFETY: a page is larger than `Told`, and aligned for everything.
        unsafe { page.write(start) };
        Ok(Self(page))
    }

    fn told(&self) -> &Told {
        // SAFETY: it was written in `new`, and is there until this is dropped; its fields are atomic.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedTold {
    fn drop(&mut self) {
        // SAFETY: it is what `new` mapped, and no reference outlives this.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Told>()) };
    }
}

/// Starts the child and waits for its end; returns whether it ended by itself in time, and the socket if there is one.
fn run(order: &Order, told: &Told) -> io::Result<(bool, Option<OwnedFd>)> {
    // A handler must not run twice for one signal, so the child takes none, but for the one that cannot be blocked.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let mut pidfd: c_int = -1;
    let flags = c_long::from(libc::CLONE_FILES | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child has memory of its own, and on its copy of this stack runs only `child`, which calls
    // nothing but the kernel and never returns. The kernel writes one descriptor to `pidfd`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    if pid == 0 {
        child(order, told);
    }
    let cloned = Errno::result(pid);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    cloned?;
    // SAFETY: the kernel made this descriptor for us, and nobody else knows its number.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let ended = loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], LIMIT_MS) {
            Err(Errno::EINTR) => {}
            result => break result.is_ok_and(|ready| ready > 0),
        }
    };
    if !ended {
        // SAFETY: it is our child, not waited for yet; the descriptor stands for no other process.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
    }
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).unwrap_or_default();
    // SAFETY: `information` is a whole siginfo_t, to which the kernel writes.
    let waited = || unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PIDFD, id, &raw mut information, libc::WEXITED)
    };
    while waited() < 0 && Errno::last() == Errno::EINTR {}
    let socket = told.socket.load(Ordering::Acquire);
    // SAFETY: the child opened it in the table that it shared with us, and has ended.
    Ok((ended, (socket >= 0).then(|| unsafe { OwnedFd::from_raw_fd(socket) })))
}

/// Becomes who `order` says, opens the socket, and ends.
fn child(order: &Order, told: &Told) -> ! {
    let step = |number: usize| told.step.store(number as i32, Ordering::Release);
    step(STAY);
    stay(order, told);
    step(CGROUP);
    if let Some(procs) = order.cgroup {
        // SAFETY: one byte of a constant; "0" is whoever writes it.
        check(unsafe { libc::write(procs, c"0".as_ptr().cast(), 1) } as c_long, told);
    }
    step(LABEL);
    if let Some(label) = &order.label {
        // SAFETY: both strings end with a zero, and live as long as this process.
        unsafe {
            let file = libc::open(c"/proc/thread-self/attr/sockcreate".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(file.into(), told);
            let written = libc::write(file, label.as_ptr().cast(), label.as_bytes().len()) as c_long;
            let errno = *libc::__errno_location();
            libc::close(file);
            *libc::__errno_location() = errno;
            check(written, told);
        }
    }
    // Groups and users by the kernel's own calls: those of the C library change every thread, of which there are none here.
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    // SAFETY: plain numbers, and pointers to what lives in `order` and on this stack.
    unsafe {
        step(KEEP);
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1 as c_ulong, 0, 0, 0).into(), told);
        step(GROUPS);
        check(libc::syscall(libc::SYS_setgroups, order.groups.len(), order.groups.as_ptr()), told);
        check(libc::syscall(libc::SYS_setresgid, order.gid, order.gid, order.gid), told);
        step(USER);
        check(libc::syscall(libc::SYS_setresuid, order.uid, order.uid, order.uid), told);
        // Memory of the parent is nothing for its new user to read.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0 as c_ulong, 0, 0, 0).into(), told);
        step(CAPABILITIES);
        check(libc::syscall(libc::SYS_capset, &raw const header, order.capabilities.as_ptr()), told);
    }
    // A change of the user has made the kernel forget it.
    stay(order, told);
    step(SOCKET);
    let [domain, kind, protocol] = order.socket;
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(domain, kind, protocol) };
    check(socket.into(), told);
    told.socket.store(socket, Ordering::Release);
    end()
}

/// Ends with the parent, even where that is killed.
fn stay(order: &Order, told: &Told) {
    // SAFETY: plain numbers.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0, 0, 0).into(), told);
        if libc::getppid() != order.parent {
            end();
        }
    }
}

fn check(result: c_long, told: &Told) {
    if result < 0 {
        // SAFETY: the place of this thread's errno is always there.
        told.errno.store(unsafe { *libc::__errno_location() }, Ordering::Release);
        end();
    }
}

fn end() -> ! {
    // SAFETY: it ends this process alone, and runs nothing before.
    unsafe { libc::_exit(0) }
}

//! tc on kernels before 6.6: a filter on a clsact qdisc. Both outlive a process that is killed, so each is noted in a
//! file before it is made, and what a dead process left is removed before the next one is attached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::programs::{
    Link, ProgramError, SchedClassifier, TcAttachType, TcError,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};
use nix::{
    fcntl::{Flock, FlockArg},
    libc,
};
use probe_ebpf::Direction;
use serde::{Deserialize, Serialize};

use crate::host::{
    device::{self, Device, tc_filters},
    process::started,
};

/// One file for each qdisc filter of a running probe.
const NOTES: &str = "/run/probe/clsact";

/// A filter on a clsact qdisc; dropping it removes the filter, and the qdisc if it was made for the filter.
pub struct Clsact {
    link: Option<SchedClassifierLink>,
    note: Note,
    path: PathBuf,
}

/// What must be removed once the process that wrote it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Cookie of the network namespace.
    netns: u64,
    /// The interface.
    ifindex: u32,
    /// Whether a probe made the qdisc: then its last filter removes it.
    made_qdisc: bool,
    /// `true`: the filter is at egress.
    egress: bool,
    /// Priority and handle that the filter has, or would have had.
    priority: u16,
    handle: u32,
    /// The id of its program, which the kernel never gives twice.
    program: u32,
    /// The process, and when it started (field 22 of `/proc/PID/stat`): the kernel reuses process ids.
    pid: u32,
    started: u64,
}

/// Locks out other processes that change qdiscs and notes: the last filter must not remove the qdisc under a new one.
fn lock() -> io::Result<Flock<fs::File>> {
    fs::create_dir_all(NOTES)?;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(Path::new(NOTES).join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Attaches `program` to `device` in this direction.
pub fn attach(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<Clsact, ProgramError> {
    let lock = lock().map_err(TcError::IoError)?;
    let netns = device::netns_cookie().map_err(TcError::IoError)?;
    let had_qdisc = tc_filters::has_qdisc(device.ifindex).map_err(TcError::IoError)?;
    let note = Note {
        netns,
        ifindex: device.ifindex,
        made_qdisc: !had_qdisc || notes_on(netns, device.ifindex).any(|(_, note)| note.made_qdisc),
        egress: direction == Direction::Out,
        priority: priority(direction),
        handle: next_handle(),
        program: program.info()?.id(),
        pid: process::id(),
        started: started(process::id()).unwrap_or(0),
    };
    let mut clsact = Clsact { path: note.path(), link: None, note };
    let attached = clsact.attach(program, device, direction);
    // An error drops what was made so far, which takes the lock again.
    drop(lock);
    attached.map(|()| clsact)
}

/// Returns a handle that no other running probe uses: the filter must be known by it before it exists.
fn next_handle() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (process::id() << 8) | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xff)
}

/// Adds the qdisc if it is not there yet.
fn add_qdisc(interface: &str) -> Result<(), ProgramError> {
    match qdisc_add_clsact(interface) {
        Err(error) if errno(&error) != Some(libc::EEXIST) => Err(error.into()),
        _ => Ok(()),
    }
}

fn errno(error: &TcError) -> Option<i32> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        source = cause.source();
    }
    None
}

impl Clsact {
    fn attach(
        &mut self,
        program: &mut SchedClassifier,
        device: &Device,
        direction: Direction,
    ) -> Result<(), ProgramError> {
        self.write().map_err(TcError::IoError)?;
        add_qdisc(&device.name)?;
        let Note { priority, handle, .. } = self.note;
        let place = NlOptions { priority, handle: handle.into(), ..NlOptions::default() };
        let options = TcAttachOptions::Netlink(place);
        let id = program.attach_with_options(&device.name, attach_type(direction), options)?;
        self.link = Some(program.take_link(id)?);
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.note).map_err(io::Error::other)?;
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        // Works without the lock too, only less safely.
        let _lock = lock();
        if let Some(link) = self.link.take()
            && let Err(error) = link.detach()
        {
            tracing::debug!("the filter is gone already: {error}");
        }
        self.note.remove_qdisc();
        // If the note stays, the next probe reads it and finds nothing left to do.
        let _ = fs::remove_file(&self.path);
    }
}

impl Note {
    fn path(&self) -> PathBuf {
        Path::new(NOTES).join(format!("{}-{}-{}.json", self.netns, self.ifindex, self.handle))
    }

    fn direction(&self) -> Direction {
        if self.egress { Direction::Out } else { Direction::In }
    }

    /// Removes the qdisc if it was made for the filter and nobody else uses it by now.
    fn remove_qdisc(&self) {
        if self.made_qdisc {
            remove_unused(self.ifindex);
        }
    }

    fn is_orphan(&self) -> bool {
        started(self.pid) != Some(self.started)
    }

    /// Reports whether its filter is on the interface, with its program.
    fn is_attached(&self) -> bool {
        let filters = tc_filters::read(Some(self.ifindex)).unwrap_or_default();
        let own = |filter: &tc_filters::TcFilter| {
            filter.direction == self.direction() && filter.program_id == Some(self.program)
        };
        filters.values().flatten().any(own)
    }
}

/// The handle of a filter that outlives its command: no process has the id 0, so [`attach`] never uses it.
const LASTING: u32 = 1;

/// Reports whether an interface has a clsact qdisc that stays when the running probes end.
pub fn is_there_for_others(ifindex: u32) -> bool {
    let made_by_probe =
        device::netns_cookie().is_ok_and(|netns| notes_on(netns, ifindex).any(|(_, note)| note.made_qdisc));
    tc_filters::has_qdisc(ifindex).unwrap_or(false) && !made_by_probe
}

/// Attaches `program` to `device` in this direction until [`detach_lasting`].
pub fn attach_lasting(
    program: &mut SchedClassifier,
    device: &Device,
    direction: Direction,
) -> Result<(), ProgramError> {
    let _lock = lock().map_err(TcError::IoError)?;
    add_qdisc(&device.name)?;
    let place = NlOptions { priority: priority(direction), handle: LASTING.into(), ..NlOptions::default() };
    let options = TcAttachOptions::Netlink(place);
    let id = program.attach_with_options(&device.name, attach_type(direction), options)?;
    program.take_link(id).map(std::mem::forget)
}

/// Makes the filter that [`attach_lasting`] attached run `program` from now on.
pub fn replace_lasting(
    program: &mut SchedClassifier,
    device: &Device,
    direction: Direction,
) -> Result<(), ProgramError> {
    let id = program.attach_to_link(lasting(&device.name, direction)?)?;
    program.take_link(id).map(std::mem::forget)
}

/// Removes what [`attach_lasting`] attached.
pub fn detach_lasting(ifindex: u32, direction: Direction) {
    let link = device::name_of(ifindex).map_err(TcError::IoError).map_err(ProgramError::from);
    if let Err(error) = link.and_then(|name| lasting(&name, direction)).and_then(Link::detach) {
        tracing::debug!("the filter is gone already: {error}");
    }
}

fn lasting(interface: &str, direction: Direction) -> Result<SchedClassifierLink, ProgramError> {
    let handle = TcHandle::from(LASTING);
    Ok(SchedClassifierLink::attached(interface, attach_type(direction), priority(direction), handle, None)?)
}

/// Removes the clsact qdisc of an interface if nobody uses it.
pub fn remove_unused_qdisc(ifindex: u32) {
    let _lock = lock();
    remove_unused(ifindex);
}

fn remove_unused(ifindex: u32) {
    if tc_filters::read(Some(ifindex)).is_ok_and(|filters| filters.is_empty()) {
        let removed = tc_filters::remove_clsact(ifindex);
        tracing::debug!("clsact qdisc of interface {ifindex}: {removed:?}");
    }
}

/// Removes what killed probes left on `device`.
///
/// # Errors
/// If the notes cannot be read or removed.
pub fn sweep(device: &Device) -> io::Result<()> {
    if !Path::new(NOTES).exists() {
        return Ok(());
    }
    let _lock = lock()?;
    let orphans: Vec<_> =
        notes_on(device::netns_cookie()?, device.ifindex).filter(|(_, note)| note.is_orphan()).collect();
    if !orphans.is_empty() {
        tracing::warn!("removing what a killed probe left on tc of {}", device.name);
    }
    for (path, note) in orphans {
        if note.is_attached() {
            remove_filter(&note, &device.name);
        }
        note.remove_qdisc();
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// Returns the notes on that interface of that network namespace, with their files.
fn notes_on(netns: u64, ifindex: u32) -> impl Iterator<Item = (PathBuf, Note)> {
    let files = fs::read_dir(NOTES).into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
    files.filter_map(move |path| {
        let note: Note = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        ((note.netns, note.ifindex) == (netns, ifindex)).then_some((path, note))
    })
}

fn remove_filter(note: &Note, interface: &str) {
    let handle = TcHandle::from(note.handle);
    let link = SchedClassifierLink::attached(interface, attach_type(note.direction()), note.priority, handle, None);
    if let Err(error) = link.map_err(ProgramError::from).and_then(Link::detach) {
        tracing::debug!("the filter is gone already: {error}");
    }
}

/// Returns the side of the device for `direction`.
pub(super) fn attach_type(direction: Direction) -> TcAttachType {
    match direction {
        Direction::In => TcAttachType::Ingress,
        Direction::Out => TcAttachType::Egress,
    }
}

/// Returns the filter's priority. Priorities run from 1, asked first, to 65535, asked last.
fn priority(direction: Direction) -> u16 {
    match direction {
        Direction::In => 1,
        Direction::Out => u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_no_orphan_and_one_of_another_age_is() {
        let mut note = Note {
            netns: 1,
            ifindex: 1,
            made_qdisc: true,
            egress: false,
            priority: 0,
            handle: 0,
            program: 0,
            pid: process::id(),
            started: started(process::id()).expect("this process runs"),
        };
        assert!(!note.is_orphan());
        note.started += 1;
        assert!(note.is_orphan());
    }
}

//! tc on kernels before 6.6: a filter on a clsact qdisc. Both outlive a process that is killed, so each is noted in a
//! file before it is made, and what a dead process left is taken away before the next one is attached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use aya::programs::{
    Link, ProgramError, SchedClassifier, TcError,
    tc::{SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};
use nix::libc;
use probe_ebpf::Direction;
use serde::{Deserialize, Serialize};

use super::tc::{attach_type, filter_place};
use crate::device::{self, Device, tc_filters};

/// One file per qdisc filter of a running probe.
const NOTES: &str = "/run/probe/clsact";

/// A filter on a clsact qdisc; dropping it removes the filter, and the qdisc if it came with it.
pub struct Clsact {
    link: Option<SchedClassifierLink>,
    note: Note,
    path: PathBuf,
}

/// What must be taken away when the process that wrote it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Inode of the network namespace.
    netns: u64,
    /// The interface.
    ifindex: u32,
    /// Whether a probe made the qdisc: then its last filter takes it along.
    made_qdisc: bool,
    /// `true`: the filter is at egress.
    egress: bool,
    /// Priority and handle of the filter; 0: it is not there yet.
    priority: u16,
    handle: u32,
    /// The process, and when it started (field 22 of `/proc/PID/stat`): a number alone may be in use again.
    pid: u32,
    started: u64,
}

/// Attaches `program` to that side of `device`.
pub fn attach(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<Clsact, ProgramError> {
    sweep(device).map_err(TcError::IoError)?;
    let netns = device::netns_inode().map_err(TcError::IoError)?;
    let note = Note {
        netns,
        ifindex: device.ifindex,
        made_qdisc: add_qdisc(&device.name)? || notes_on(netns, device.ifindex).any(|(_, note)| note.made_qdisc),
        egress: direction == Direction::Out,
        priority: 0,
        handle: 0,
        pid: process::id(),
        started: started(process::id()).unwrap_or(0),
    };
    let mut clsact = Clsact { path: note.path(), link: None, note };
    clsact.write().map_err(TcError::IoError)?;
    let options = TcAttachOptions::Netlink(filter_place(direction));
    let id = program.attach_with_options(&device.name, attach_type(direction), options)?;
    let link = program.take_link(id)?;
    (clsact.note.priority, clsact.note.handle) = (link.priority()?, link.handle()?.into());
    clsact.link = Some(link);
    clsact.write().map_err(TcError::IoError)?;
    Ok(clsact)
}

/// Adds the qdisc; says whether it was not there before.
fn add_qdisc(interface: &str) -> Result<bool, ProgramError> {
    match qdisc_add_clsact(interface) {
        Ok(()) => Ok(true),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
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
    fn write(&self) -> io::Result<()> {
        fs::create_dir_all(NOTES)?;
        let text = serde_json::to_vec(&self.note).map_err(io::Error::other)?;
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if let Some(link) = self.link.take()
            && let Err(error) = link.detach()
        {
            tracing::debug!("the filter is gone already: {error}");
        }
        self.note.remove_qdisc();
        // A note that stays is read by the next probe, which finds nothing left to do.
        let _ = fs::remove_file(&self.path);
    }
}

impl Note {
    fn path(&self) -> PathBuf {
        let side = if self.egress { "out" } else { "in" };
        Path::new(NOTES).join(format!("{}-{}-{}-{side}.json", self.netns, self.ifindex, self.pid))
    }

    /// Removes the qdisc if it came with the filter and nobody else uses it by now.
    fn remove_qdisc(&self) {
        let unused = tc_filters::read(Some(self.ifindex)).is_ok_and(|filters| filters.is_empty());
        if self.made_qdisc && unused {
            let removed = tc_filters::remove_clsact(self.ifindex);
            tracing::debug!("clsact qdisc of interface {}: {removed:?}", self.ifindex);
        }
    }

    fn is_orphan(&self) -> bool {
        started(self.pid) != Some(self.started)
    }
}

/// Takes away what processes that are gone left on `device`.
fn sweep(device: &Device) -> io::Result<()> {
    let orphans = notes_on(device::netns_inode()?, device.ifindex).filter(|(_, note)| note.is_orphan());
    for (path, note) in orphans {
        tracing::warn!("removing the tc filter that a killed probe left on {}", device.name);
        remove_filter(&note, &device.name);
        note.remove_qdisc();
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// The notes on that interface of that network namespace, with their files.
fn notes_on(netns: u64, ifindex: u32) -> impl Iterator<Item = (PathBuf, Note)> {
    let files = fs::read_dir(NOTES).into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
    files.filter_map(move |path| {
        let note: Note = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        ((note.netns, note.ifindex) == (netns, ifindex)).then_some((path, note))
    })
}

fn remove_filter(note: &Note, interface: &str) {
    if note.priority == 0 {
        return;
    }
    let direction = if note.egress { Direction::Out } else { Direction::In };
    let handle = TcHandle::from(note.handle);
    let link = SchedClassifierLink::attached(interface, attach_type(direction), note.priority, handle, None);
    if let Err(error) = link.map_err(ProgramError::from).and_then(Link::detach) {
        tracing::debug!("the filter is gone already: {error}");
    }
}

/// When the process `pid` started, in clock ticks since boot; `None`: there is no such process.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses of its own; field 3 follows the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
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
            pid: process::id(),
            started: started(process::id()).expect("this process runs"),
        };
        assert!(!note.is_orphan());
        note.started += 1;
        assert!(note.is_orphan());
    }
}

//! The lab that stays: its namespaces have names, as `ip netns` gives them, so that shells and other tools can enter.
//!
//! The lab is complete before its first name is given, and a record of whose names they are is written before that.
//! So a process that is killed at any moment leaves either a whole lab or a part that is known to be the lab's own.

mod names;
mod record;

use std::{fs, path::Path};

pub use self::names::NAMES;
use self::{
    names::{FoundName, MountMark},
    record::{LabRecord, Lock},
};
use super::{
    error::{Capability, LabError},
    inventory,
    netns::Netns,
    plan::LabHost,
    topology::Topology,
};
use crate::signals::Held;

/// What `up` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It set up the lab.
    Made,
    /// It removed the rest of an earlier lab, and set up a new one.
    Repaired,
    /// The lab was running already, and is unchanged.
    AlreadyUp,
}

/// What `down` found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// Whether there was a lab, whole or in part: it is removed.
    pub removed: bool,
    /// Processes that still run inside, and so keep their namespace, now without a name, until they end.
    pub inside: Vec<Process>,
    /// Names of the lab under which others keep a namespace: left alone.
    pub foreign: Vec<&'static str>,
}

/// A process that runs on a host of the lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// On which host.
    pub host: LabHost,
    /// Its process id.
    pub pid: u32,
    /// Its command's name.
    pub name: String,
}

/// Sets up the lab under its names, repairs what an interrupted `up` or `down` left, or checks the lab that exists.
pub fn up() -> Result<Raised, LabError> {
    let _lock = Lock::take()?;
    let _held = Held::new();
    let survey = Survey::take()?;
    survey.refuse_foreign()?;
    if survey.is_whole() {
        let changes = inventory::changes(&survey.into_topology()?, &Topology::build()?)?;
        return if changes.is_empty() { Ok(Raised::AlreadyUp) } else { Err(LabError::Changed { changes }) };
    }
    let raised = if survey.is_bare() { Raised::Made } else { Raised::Repaired };
    survey.remove()?;
    give_names(&Topology::build()?).inspect_err(|_| {
        // What went wrong is reported; what cannot be removed now, the next up or down removes.
        let _ = Survey::take().and_then(Survey::remove);
    })?;
    Ok(raised)
}

/// Removes the lab and whatever an interrupted `up` or `down` left of it, and nothing else.
pub fn down() -> Result<Lowered, LabError> {
    let lock = Lock::take_if_any()?;
    let _held = Held::new();
    let survey = Survey::take()?;
    let lowered =
        Lowered { removed: !survey.is_bare(), inside: survey.processes(), foreign: survey.foreign().collect() };
    survey.remove()?;
    if lock.is_some() {
        record::remove_folder();
    }
    Ok(lowered)
}

/// Returns the namespace of a host of the running lab.
pub fn host(host: LabHost) -> Result<Netns, LabError> {
    let survey = Survey::take()?;
    if survey.is_bare() {
        return Err(LabError::NotUp);
    }
    let [a, fw, b] = survey.found;
    let found = match host {
        LabHost::A => a,
        LabHost::Fw => fw,
        LabHost::B => b,
    };
    if let FoundName::Ours(netns) = found { Ok(netns) } else { Err(LabError::Broken) }
}

/// Records that the names are the lab's, then creates them.
fn give_names(topology: &Topology) -> Result<(), LabError> {
    let cookies = [
        topology.netns(LabHost::A).cookie()?,
        topology.netns(LabHost::Fw).cookie()?,
        topology.netns(LabHost::B).cookie()?,
    ];
    LabRecord { boot: record::boot_id()?, cookies, mount: MountMark::before_naming()? }.write()?;
    names::prepare_folder()?;
    for (host, name) in LabHost::ALL.into_iter().zip(NAMES) {
        names::give(name, topology.netns(host))?;
    }
    Ok(())
}

/// What exists under the lab's names, and what the record says about it.
struct Survey {
    record: Option<LabRecord>,
    found: [FoundName; 3],
}

impl Survey {
    fn take() -> Result<Self, LabError> {
        let record = LabRecord::read()?;
        let boot = record::boot_id()?;
        let expected = |slot: usize| match &record {
            Some(record) if record.boot == boot => names::RecordedName::Cookie(record.cookies[slot]),
            Some(_) => names::RecordedName::Leftover,
            None => names::RecordedName::Nothing,
        };
        let found = [0, 1, 2].map(|slot| names::look(NAMES[slot], &expected(slot)));
        let [a, fw, b] = found;
        Ok(Self { found: [a?, fw?, b?], record })
    }

    /// Returns whether all three names exist and belong to the lab.
    fn is_whole(&self) -> bool {
        self.found.iter().all(|found| matches!(found, FoundName::Ours(_)))
    }

    /// Returns whether nothing of the lab exists.
    fn is_bare(&self) -> bool {
        self.record.is_none() && self.found.iter().all(|found| matches!(found, FoundName::Absent | FoundName::Foreign))
    }

    /// Iterates over the names that others use.
    fn foreign(&self) -> impl Iterator<Item = &'static str> {
        let pairs = self.found.iter().zip(NAMES);
        pairs.filter(|(found, _)| matches!(found, FoundName::Foreign)).map(|(_, name)| name)
    }

    fn refuse_foreign(&self) -> Result<(), LabError> {
        match self.foreign().next() {
            Some(name) => Err(LabError::Foreign { name: name.into() }),
            None => Ok(()),
        }
    }

    fn into_topology(self) -> Result<Topology, LabError> {
        match self.found {
            [FoundName::Ours(a), FoundName::Ours(fw), FoundName::Ours(b)] => Topology::of(a, fw, b),
            _ => Err(LabError::Broken),
        }
    }

    /// Removes the names, then the record that they are the lab's. In this order a kill leaves nothing unknown behind.
    fn remove(self) -> Result<(), LabError> {
        for (found, name) in self.found.iter().zip(NAMES) {
            match found {
                FoundName::Ours(_) | FoundName::HalfMade => names::take_away(name)?,
                FoundName::Absent | FoundName::Foreign => {}
            }
        }
        let Some(record) = self.record else { return Ok(()) };
        names::undo_folder(record.mount);
        LabRecord::remove()
    }

    /// Returns the processes inside, as far as `/proc` shows them.
    fn processes(&self) -> Vec<Process> {
        let ours = |found: &FoundName| match found {
            FoundName::Ours(netns) => Some(netns.inode()),
            _ => None,
        };
        let inodes = [ours(&self.found[0]), ours(&self.found[1]), ours(&self.found[2])];
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut processes: Vec<_> = pids.filter_map(|pid| process_inside(pid, inodes)).collect();
        processes.sort();
        processes
    }
}

/// Returns the process, if it runs in one of these namespaces and still exists.
fn process_inside(pid: u32, inodes: [Option<u64>; 3]) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    let link = fs::read_link(folder.join("ns/net")).ok()?;
    let inode = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    let slot = inodes.iter().position(|ours| *ours == Some(inode))?;
    let name = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
    Some(Process { host: LabHost::ALL[slot], pid, name })
}

/// Converts an error from naming or recording. Both need mounts and files below `/run`, which root may change.
fn refused(attempt: impl Into<String>) -> impl FnOnce(std::io::Error) -> LabError {
    let attempt = attempt.into();
    move |source| LabError::system(attempt, Capability::SysAdmin, source)
}

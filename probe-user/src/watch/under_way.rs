//! Diagnoses under way, noted in files, so that whoever adds a rule learns that it hits one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use probe_ebpf::{
    Rule,
    filter::{DRY_RUN, PASS},
};
use serde::{Deserialize, Serialize};

use crate::host::process::started;
use crate::{
    filter::rules,
    host::device::{self, Device},
};

/// One file for each end of a diagnosis.
const NOTES: &str = "/run/probe/diagnoses";

/// A diagnosis that is under way until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    note: Option<PathBuf>,
}

/// One end of a diagnosis, as others learn of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosisNote {
    /// Its process.
    pub pid: u32,
    /// When that started: see [`started`].
    started: u64,
    /// Cookie of the network namespace that it watches.
    netns: u64,
    /// The interface that it watches; none: any that its packets take.
    pub interface: Option<String>,
    /// The ids of its packets.
    pub ids: Vec<u16>,
}

impl UnderWay {
    /// Notes that packets with these ids are watched at `interface` of the calling thread's network namespace. If no
    /// note can be made, nobody is warned, which is no reason not to diagnose.
    pub fn begin(interface: Option<&str>, ids: &[u16]) -> Self {
        let note = write(interface, ids);
        Self { note: note.inspect_err(|error| tracing::debug!("no note of this diagnosis: {error}")).ok() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(path) = &self.note {
            // Its process distinguishes one that was left behind from a living one.
            let _ = fs::remove_file(path);
        }
    }
}

fn write(interface: Option<&str>, ids: &[u16]) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pid = process::id();
    let note = DiagnosisNote {
        pid,
        started: started(pid).ok_or(io::ErrorKind::NotFound)?,
        netns: device::netns_cookie()?,
        interface: interface.map(str::to_owned),
        ids: ids.to_vec(),
    };
    fs::create_dir_all(NOTES)?;
    let path = Path::new(NOTES).join(format!("{pid}-{}.json", NEXT.fetch_add(1, Ordering::Relaxed)));
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(&note).map_err(io::Error::other)?)?;
    fs::rename(new, &path)?;
    Ok(path)
}

/// Returns the diagnoses of this network namespace whose packets `rule` may drop at `device`, and removes the notes
/// of dead processes.
pub fn hit_by(rule: &Rule, device: &Device) -> Vec<DiagnosisNote> {
    let Ok(netns) = device::netns_cookie() else { return Vec::new() };
    let files = fs::read_dir(NOTES).into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
    let mut notes: Vec<DiagnosisNote> =
        files.filter_map(|path| read(&path)).filter(|note| note.netns == netns).collect();
    notes.retain(|note| note.is_hit_by(rule, &device.name));
    notes.sort_by_key(|note| note.pid);
    notes
}

fn read(path: &Path) -> Option<DiagnosisNote> {
    let note: DiagnosisNote = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if started(note.pid) == Some(note.started) {
        return Some(note);
    }
    let _ = fs::remove_file(path);
    None
}

impl DiagnosisNote {
    fn is_hit_by(&self, rule: &Rule, interface: &str) -> bool {
        let drops = rule.action != PASS && rule.asks & DRY_RUN == 0;
        let here = self.interface.as_deref().is_none_or(|watched| watched == interface);
        drops && here && self.ids.iter().any(|id| rules::ids(rule).contains(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_hits_a_diagnosis_of_its_ids_at_its_interface() {
        let note = DiagnosisNote { pid: 1, started: 1, netns: 1, interface: Some("eth0".into()), ids: vec![7, 9] };
        let rule = |first, last| Rule { id_first: first, id_last: last, ..Rule::default() };
        assert!(note.is_hit_by(&rule(9, 20), "eth0"));
        assert!(!note.is_hit_by(&rule(8, 8), "eth0"));
        assert!(!note.is_hit_by(&rule(7, 7), "eth1"));
        assert!(!note.is_hit_by(&Rule { action: PASS, ..rule(7, 7) }, "eth0"));
        assert!(!note.is_hit_by(&Rule { asks: DRY_RUN, ..rule(7, 7) }, "eth0"));
        assert!(DiagnosisNote { interface: None, ..note }.is_hit_by(&rule(7, 7), "eth1"));
    }
}

//! The record of the running lab, with its names, and the lock that lets only one `up` or `down` work at a time.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{names::MountMark, refused};
use crate::lab::error::LabError;

/// Where the record is. The folder is the lock too.
const FOLDER: &str = "/run/probe/lab";

/// The record itself.
const FILE: &str = "/run/probe/lab/record.json";

/// Where it is written before it takes its place.
const DRAFT: &str = "/run/probe/lab/record.json.new";

/// Which namespaces the names belong to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LabRecord {
    /// When: cookies are unique only until the machine starts again.
    pub(super) boot: String,
    /// The cookies of the namespaces, in path order.
    pub(super) cookies: [u64; 3],
    /// What of `/run/netns` was there before.
    pub(super) mount: MountMark,
}

impl LabRecord {
    /// Reads the record, if there is one.
    pub(super) fn read() -> Result<Option<Self>, LabError> {
        let text = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(refused(format!("read {FILE}")))?,
        };
        let damaged = |error: serde_json::Error| LabError::Record { path: FILE.into(), why: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Writes the record atomically.
    pub(super) fn write(&self) -> Result<(), LabError> {
        let text = serde_json::to_string(self).expect("a record is plain data");
        let written = fs::write(DRAFT, text).and_then(|()| fs::rename(DRAFT, FILE));
        written.map_err(refused(format!("write {FILE}")))
    }

    /// Removes the record.
    pub(super) fn remove() -> Result<(), LabError> {
        match fs::remove_file(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(refused(format!("remove {FILE}"))),
        }
    }
}

/// Removes the record's folder with any draft that a kill left, and probe's folder if nothing else is in it.
pub(super) fn remove_folder() {
    // What is not empty or already gone stays as it is; the next up finds its way with either.
    let _ = fs::remove_file(DRAFT);
    let _ = fs::remove_dir(FOLDER);
    if let Some(parent) = Path::new(FOLDER).parent() {
        let _ = fs::remove_dir(parent);
    }
}

/// Returns the kernel's id of the current boot.
pub(super) fn boot_id() -> Result<String, LabError> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(refused(format!("read {path}")))
}

/// The lock for changing the running lab, until it is dropped or the process ends.
pub(super) struct Lock {
    _folder: Flock<File>,
}

impl Lock {
    /// Creates the folder if needed, and waits for the lock.
    pub(super) fn take() -> Result<Self, LabError> {
        loop {
            fs::create_dir_all(FOLDER).map_err(refused(format!("make {FOLDER}")))?;
            if let Some(lock) = Self::take_if_any()? {
                return Ok(lock);
            }
        }
    }

    /// Locks like [`Self::take`], but returns `None` if there is no folder, and so no lab.
    pub(super) fn take_if_any() -> Result<Option<Self>, LabError> {
        loop {
            let folder = match File::open(FOLDER) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                result => result.map_err(refused(format!("open {FOLDER}")))?,
            };
            let lock = Flock::lock(folder, FlockArg::LockExclusive)
                .map_err(|(_, errno)| refused(format!("lock {FOLDER}"))(errno.into()))?;
            // The previous holder may have removed the folder: a lock on a removed folder excludes nobody.
            let held = lock.metadata().map(|metadata| metadata.ino()).ok();
            let there = fs::metadata(FOLDER).map(|metadata| metadata.ino()).ok();
            if held.is_some() && held == there {
                return Ok(Some(Self { _folder: lock }));
            }
        }
    }
}

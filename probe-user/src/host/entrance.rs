//! Enters another network namespace, as a user names it: by a name of `ip netns`, a process, a file, a container.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};

use super::{
    command::quoted,
    container::Container,
    namespace::{NAMES, entries},
};
use crate::error::Mend;

/// How many names an error lists.
const LISTED: usize = 8;

/// A network namespace that can be entered, held open so that it stays what it is.
#[derive(Debug)]
pub struct Entrance {
    /// Its name for people.
    pub name: String,
    /// The prefix that runs a command in it, e.g. `ip netns exec fw`.
    pub enter: String,
    handle: File,
}

/// Why a network namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// Nothing has that name.
    #[error("there is no network namespace '{name}'")]
    UnknownName {
        /// What was typed.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// No process has that id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// What was typed.
        pid: u32,
    },
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{name} is not a network namespace")]
    Other {
        /// What was typed.
        name: String,
    },
    /// This process may not enter it.
    #[error("this process may not enter the network namespace of {name}: {source}")]
    Refused {
        /// What was typed.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Mend for EntranceError {
    fn fix(&self) -> String {
        match self {
            Self::UnknownName { known, .. } => {
                let names = known.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
                let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
                format!("give a name that `ip netns` lists{names}, the id of a process in it, or the path of its file")
            }
            Self::NoProcess { .. } => "give the id of a process that lives in it, as `lsns -t net` shows it".to_owned(),
            Self::File { source, .. } | Self::Refused { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "sudo probe …".to_owned()
            }
            Self::File { .. } | Self::Other { .. } | Self::Refused { .. } => {
                "give a file such as /proc/PID/ns/net or /run/netns/NAME".to_owned()
            }
        }
    }
}

impl Entrance {
    /// Opens the namespace that a user calls `what`: by a name of `ip netns`, by the id of a process, or by a path.
    ///
    /// # Errors
    /// There is no such namespace, or it cannot be opened.
    pub fn to(what: &str) -> Result<Self, EntranceError> {
        if what.contains('/') {
            return Self::at(Path::new(what), what.to_owned(), format!("nsenter --net={}", quoted(what)));
        }
        let path = Path::new(NAMES).join(what);
        if !what.is_empty() && path.exists() {
            return Self::at(&path, what.to_owned(), format!("ip netns exec {}", quoted(what)));
        }
        match what.parse() {
            Ok(pid) => Self::of_process(pid, format!("process {pid}")),
            Err(_) => Err(EntranceError::UnknownName { name: what.to_owned(), known: names() }),
        }
    }

    /// Opens the namespace of a container, in which its process `pid` lives.
    ///
    /// # Errors
    /// As [`Entrance::to`].
    pub fn of_container(container: &Container, pid: u32) -> Result<Self, EntranceError> {
        Self::of_process(pid, container.to_string())
    }

    pub(super) fn of_process(pid: u32, name: String) -> Result<Self, EntranceError> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        if !process.exists() {
            return Err(EntranceError::NoProcess { pid });
        }
        Self::at(&process.join("ns/net"), name, format!("nsenter -t {pid} -n"))
    }

    fn at(path: &Path, name: String, enter: String) -> Result<Self, EntranceError> {
        let handle = File::open(path).map_err(|source| EntranceError::File { path: path.to_owned(), source })?;
        Ok(Self { name, enter, handle })
    }

    /// Moves the calling thread, and every thread that it starts from now on, into the namespace: only the network's,
    /// so that files stay what they are.
    ///
    /// # Errors
    /// It is not a network namespace, or this process may not enter it.
    pub fn pass(&self) -> Result<(), EntranceError> {
        let name = self.name.clone();
        setns(&self.handle, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            Errno::EINVAL => EntranceError::Other { name },
            errno => EntranceError::Refused { name, source: errno.into() },
        })
    }
}

fn names() -> Vec<String> {
    let mut names: Vec<String> =
        entries(NAMES).filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(what: &str) -> (String, String) {
        let error = Entrance::to(what).and_then(|entrance| entrance.pass()).expect_err("it is refused");
        (error.to_string(), error.fix())
    }

    #[test]
    fn what_is_no_namespace_is_one_sentence_with_its_fix() {
        let (error, fix) = refused("no-such-namespace");
        assert_eq!(error, "there is no network namespace 'no-such-namespace'");
        assert!(fix.starts_with("give a name that `ip netns` lists"), "{fix}");
        let (error, fix) = refused("4294967295");
        assert_eq!(error, "there is no process 4294967295");
        assert!(fix.contains("lsns"), "{fix}");
        let (error, fix) = refused("/no/such/file");
        assert!(error.starts_with("cannot open /no/such/file: "), "{error}");
        assert!(fix.contains("/proc/PID/ns/net"), "{fix}");
        assert_eq!(refused("/dev/null").0, "/dev/null is not a network namespace");
    }

    #[test]
    fn commands_are_put_behind_what_enters_it() {
        let own = Entrance::to("/proc/self/ns/net").expect("it is there");
        assert_eq!(own.enter, "nsenter --net=/proc/self/ns/net");
        let pid = std::process::id();
        let process = Entrance::to(&pid.to_string()).expect("this process");
        assert_eq!((process.name, process.enter), (format!("process {pid}"), format!("nsenter -t {pid} -n")));
    }
}

//! Containers of this host as their runtimes keep them on disk: docker, podman, CRI-O, containerd; and their names.

mod cgroup;
mod state;

use std::{fmt, fs, path::Path};

pub use self::cgroup::Resident;
use crate::{
    error::Mend,
    host::command::{self, quoted},
};

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name; none: it has none.
    pub name: Option<String>,
    /// The runtime: `docker`, `podman`, `containerd`.
    pub runtime: &'static str,
    /// The process that lives in its network namespace; none: it is not running.
    pub pid: Option<u32>,
}

/// Why a container cannot be entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// There is none with that name or id.
    #[error("there is no container '{wanted}' on this host{}", but_known(known))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Those that are running.
        known: Vec<Container>,
    },
    /// Several fit.
    #[error("'{wanted}' matches {} containers: {}", found.len(), listed(found))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Those that fit.
        found: Vec<Container>,
    },
    /// It is not running.
    #[error("{container} is not running, so it has no network namespace")]
    Stopped {
        /// Which.
        container: Container,
    },
}

impl Mend for ContainerError {
    fn fix(&self) -> String {
        match self {
            Self::Unknown { .. } => {
                "give its name or the start of its id, as `docker ps`, `podman ps` or `crictl ps` shows it; for any \
                                     other, use --netns with the id of a process in it"
                    .to_owned()
            }
            Self::Ambiguous { .. } => "give more of its id".to_owned(),
            Self::Stopped { container } => {
                let name = container.name.as_ref().unwrap_or(&container.id);
                match container.runtime {
                    runtime @ ("docker" | "podman") => format!("{runtime} start {}", quoted(name)),
                    _ => "start it first".to_owned(),
                }
            }
        }
    }
}

/// How many containers an error lists.
const LISTED: usize = 5;

fn listed(found: &[Container]) -> String {
    let mut texts: Vec<String> = found.iter().take(LISTED).map(Container::to_string).collect();
    if found.len() > LISTED {
        texts.push(format!("{} more", found.len() - LISTED));
    }
    texts.join(", ")
}

fn but_known(known: &[Container]) -> String {
    if known.is_empty() { String::new() } else { format!(", but {}", listed(known)) }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} ({})", self.name.as_deref().unwrap_or_else(|| short(&self.id)), self.runtime)
    }
}

/// Returns the first twelve characters of an id, as runtimes show it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Returns every container that the runtimes below the folder `root` keep, each once.
pub fn all(root: &Path) -> Vec<Container> {
    let mut found: Vec<Container> = Vec::new();
    // The runtime that a user talks to comes first: docker's containers are containerd's as well.
    for container in [state::docker(root), state::podman(root), state::containerd(root)].into_iter().flatten() {
        if !found.iter().any(|known| known.id == container.id) {
            found.push(container);
        }
    }
    found
}

/// Returns the container of `containers` that has this name or id, or an id that begins so, and the process in it.
///
/// # Errors
/// There is none, or more than one, or it is not running.
pub fn find(containers: Vec<Container>, wanted: &str) -> Result<(Container, u32), ContainerError> {
    let named = |container: &&Container| container.id == wanted || container.name.as_deref() == Some(wanted);
    let begins = |container: &&Container| !wanted.is_empty() && container.id.starts_with(wanted);
    let exact: Vec<Container> = containers.iter().filter(named).cloned().collect();
    let mut found = if exact.is_empty() { containers.iter().filter(begins).cloned().collect() } else { exact };
    // If several have the name, the running one is meant.
    if found.iter().any(|container| container.pid.is_some()) {
        found.retain(|container| container.pid.is_some());
    }
    let wanted = wanted.to_owned();
    match <[Container; 1]>::try_from(found) {
        Ok([container]) => match container.pid {
            Some(pid) => Ok((container, pid)),
            None => Err(ContainerError::Stopped { container }),
        },
        Err(found) if found.is_empty() => {
            let known = containers.into_iter().filter(|container| container.pid.is_some()).collect();
            Err(ContainerError::Unknown { wanted, known })
        }
        Err(found) => Err(ContainerError::Ambiguous { wanted, found }),
    }
}

/// Returns the container that is called `wanted` on this host: from what runtimes keep on disk, else from what their
/// own programs report, as those know where they keep it.
///
/// # Errors
/// As [`find`].
pub fn on_this_host(wanted: &str) -> Result<(Container, u32), ContainerError> {
    match find(all(Path::new("/")), wanted) {
        Err(ContainerError::Unknown { wanted, known }) => {
            let told = ["docker", "podman"].into_iter().find_map(|runtime| inspected(runtime, &wanted));
            told.map_or(Err(ContainerError::Unknown { wanted: wanted.clone(), known }), |told| {
                find(vec![told.clone()], &told.id)
            })
        }
        other => other,
    }
}

/// Asks the program of a runtime.
fn inspected(runtime: &'static str, wanted: &str) -> Option<Container> {
    const FORMAT: &str = "{{.Id}} {{.State.Pid}} {{.Name}}";
    let told = command::output(runtime, &["inspect", "--type", "container", "--format", FORMAT, "--", wanted]).ok()?;
    state::told(&told, runtime)
}

/// Returns what the process `pid` is to people: its container, its machine or its service; `None` if it is just a
/// process, or belongs to the same as the process `own`, so that this does not distinguish it.
pub fn resident(root: &Path, pid: u32, own: u32) -> Option<String> {
    let resident = |pid: u32| cgroup::resident(&fs::read_to_string(root.join(format!("proc/{pid}/cgroup"))).ok()?);
    let found = resident(pid).filter(|found| resident(own).as_ref() != Some(found))?;
    Some(match found {
        Resident::Container { id, runtime } => {
            let known = all(root).into_iter().find(|container| container.id == id);
            known.unwrap_or(Container { id, name: None, runtime, pid: Some(pid) }).to_string()
        }
        Resident::Machine(name) => format!("machine {name}"),
        Resident::Unit(name) => format!("unit {name}"),
    })
}

#[cfg(test)]
mod tests;

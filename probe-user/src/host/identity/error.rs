//! Why nobody can be sent as, and what to do about it.

use std::{io, path::PathBuf};

use crate::{
    error::Mend,
    host::{command::quoted, container::ContainerError, entrance::EntranceError},
};

/// Why an identity cannot be found, or not be taken on.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No process has that id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// What was typed.
        pid: u32,
    },
    /// It has ended, and its parent has not noticed yet.
    #[error("{name} has ended")]
    Ended {
        /// Whose.
        name: String,
    },
    /// It is of another user namespace.
    #[error("{name} lives in a user namespace of its own, so that its users and rights are not those of this one")]
    UserNamespace {
        /// Whose.
        name: String,
        /// A process of it.
        pid: u32,
    },
    /// There is no cgroup of that name.
    #[error("no unit '{name}' runs on this host")]
    NoUnit {
        /// What was asked for.
        name: String,
    },
    /// Its cgroup is there, and nobody in it.
    #[error("unit {name} has no process")]
    EmptyUnit {
        /// What was asked for.
        name: String,
    },
    /// Several users have one of that name.
    #[error("unit {name} runs {} times, each for another user: {}", folders.len(), listed(folders))]
    AmbiguousUnit {
        /// What was asked for.
        name: String,
        /// Their cgroups.
        folders: Vec<PathBuf>,
    },
    /// The users of this host do not include that one.
    #[error("there is no user '{name}' on this host")]
    NoUser {
        /// What was typed.
        name: String,
    },
    /// Its cgroup cannot be reached.
    #[error("the cgroup {cgroup} of {name} cannot be entered: {why}")]
    Cgroup {
        /// Whose.
        name: String,
        /// Which.
        cgroup: String,
        /// Its folder; none: it cannot be found.
        folder: Option<PathBuf>,
        /// Why, as a clause.
        why: &'static str,
    },
    /// A unit was asked for, and there are no cgroups to find it by.
    #[error("no cgroup2 file system is mounted here, by which units are found")]
    NoCgroups,
    /// What the kernel tells of it cannot be read.
    #[error("cannot read {path}: {source}")]
    Unread {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A trial failed.
    #[error("cannot become {name}: {source}")]
    NotTaken {
        /// Whose.
        name: String,
        /// At what.
        source: io::Error,
    },
    /// The container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Its network namespace.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
}

impl Mend for IdentityError {
    fn fix(&self) -> String {
        match self {
            Self::NoProcess { .. } | Self::Ended { .. } => "`ps -e` lists them".to_owned(),
            Self::UserNamespace { pid, .. } => {
                format!("--netns {pid} sends from its network namespace, with probe's own user and cgroup")
            }
            Self::NoUnit { .. } => "`systemctl list-units --state=running` lists them".to_owned(),
            Self::EmptyUnit { name } => format!("systemctl start {name}"),
            Self::AmbiguousUnit { .. } => "--as with the id of one of its processes".to_owned(),
            Self::NoUser { .. } => {
                "`getent passwd` lists them; of an id without a name, --as takes a process".to_owned()
            }
            Self::Cgroup { folder: Some(folder), .. } => {
                format!("thaw it: echo 0 > {}", quoted(&folder.join("cgroup.freeze").to_string_lossy()))
            }
            Self::Cgroup { .. } => {
                "run probe on the host, outside of any container and of `ip netns exec`, which hides cgroups".to_owned()
            }
            Self::NoCgroups => {
                "mount -t cgroup2 none /sys/fs/cgroup/unified, or --as with the id of a process".to_owned()
            }
            Self::Unread { .. } => "check that /proc is mounted, and run it with sudo".to_owned(),
            Self::NotTaken { .. } => "sudo probe diagnose …, outside of any container".to_owned(),
            Self::Container(error) => error.fix(),
            Self::Entrance(error) => error.fix(),
        }
    }
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

//! From which network namespace a command works: the same flags for every command that can.

use clap::Args;

/// The network namespace, if it is not the one in which the command is typed.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// Work in this network namespace: a name of `ip netns`, the id of a process, or a namespace's file
    #[arg(long, value_name = "NAME|PID|PATH", conflicts_with = "container", help_heading = "From where")]
    pub netns: Option<String>,
    /// Work in the network namespace of this container of docker, podman, CRI-O or containerd
    #[arg(long, value_name = "NAME|ID", help_heading = "From where")]
    pub container: Option<String>,
}

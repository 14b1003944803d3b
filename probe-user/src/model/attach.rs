//! Which kernel hooks a command attaches to, as typed, as asked of the far end, and as the kernel half obeys.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Which kernel hooks a command attaches to.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// How to attach XDP; auto never resets a link and falls back to tc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub xdp: XdpChoice,
    /// How to attach to tc: TCX links (Linux 6.6 and later) or a clsact qdisc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub tc: TcChoice,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpChoice {
    /// The mode that disturbs this interface least, or none
    #[default]
    Auto,
    /// In the driver; may reset the link of some network cards
    Native,
    /// In the kernel's receive path, for any driver
    Generic,
    /// Not at all: tc ingress is used instead
    Off,
}

/// How tc programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcChoice {
    /// TCX where the kernel has it, else clsact
    #[default]
    Auto,
    /// A TCX link (Linux 6.6 and later): goes away with the process
    Tcx,
    /// A filter on a clsact qdisc, as kernels before 6.6 need
    Clsact,
}

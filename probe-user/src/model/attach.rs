//! Which kernel hooks a command attaches to, as asked for here or of the far end.

use serde::{Deserialize, Serialize};

/// Which kernel hooks a command attaches to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// How to attach XDP.
    pub xdp: XdpChoice,
    /// How to attach to tc.
    pub tc: TcChoice,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpChoice {
    /// In the mode that disturbs this interface least, or not at all.
    #[default]
    Auto,
    /// In the driver; may reset the link of some network cards.
    Native,
    /// In the kernel's receive path, for any driver.
    Generic,
    /// Not at all: tc ingress is used instead.
    Off,
}

/// How tc programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcChoice {
    /// By TCX where the kernel has it, else by clsact.
    #[default]
    Auto,
    /// By a TCX link (Linux 6.6 and later), which goes away with the process.
    Tcx,
    /// By a filter on a clsact qdisc, as kernels before 6.6 need.
    Clsact,
}

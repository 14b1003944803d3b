//! Which kernel hooks a command attaches to, as asked for here or at the far end.

use std::fmt;

use schemars::JsonSchema;
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
    /// By TCX if the kernel has it, else by clsact.
    #[default]
    Auto,
    /// By a TCX link (Linux 6.6 and later), which goes away with the process.
    Tcx,
    /// By a filter on a clsact qdisc, as kernels before 6.6 need.
    Clsact,
}

/// Where a filter is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilterSite {
    /// XDP.
    Xdp,
    /// A TCX link.
    Tcx,
    /// A filter on a clsact qdisc.
    Clsact,
}

impl FilterSite {
    /// Returns its name in reports and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// What a rule or a guard does with what it does not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilterEffect {
    /// It drops it.
    Drop,
    /// It lets pass all that it matches.
    Pass,
    /// It counts what it would drop.
    Count,
}

/// How XDP is attached to an interface, as a host reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum XdpAttachment {
    /// In the driver.
    Native,
    /// In the kernel's receive path.
    Generic,
    /// Not at all: tc counts what enters.
    Off,
    /// Not reported, or by a name that this version does not know.
    #[default]
    #[serde(other, rename = "")]
    Unknown,
}

impl XdpAttachment {
    /// Returns its name in reports and documents; empty if it is unknown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
            Self::Unknown => "",
        }
    }
}

impl fmt::Display for XdpAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_crosses_by_its_name_and_no_other_word_does() {
        for mode in [XdpAttachment::Native, XdpAttachment::Generic, XdpAttachment::Off, XdpAttachment::Unknown] {
            let json = serde_json::to_value(mode).expect("JSON");
            assert_eq!(json, mode.name());
            assert_eq!(serde_json::from_value::<XdpAttachment>(json).expect("a mode"), mode);
        }
        let strange = serde_json::from_str::<XdpAttachment>("\"\\u001b[31m\"").expect("a mode");
        assert_eq!(strange, XdpAttachment::Unknown);
    }
}

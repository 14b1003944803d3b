//! How to attach, as typed: the same flags for every command that attaches kernel programs.

use clap::{Args, ValueEnum, builder::PossibleValue};

use crate::model::attach::{Attach, TcChoice, XdpChoice};

/// Which kernel hooks a command attaches to.
#[derive(Args, Clone, Copy, Debug)]
pub struct AttachArgs {
    /// How to attach XDP; auto never resets a link and falls back to tc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub xdp: XdpChoice,
    /// How to attach to tc: TCX links (Linux 6.6 and later) or a clsact qdisc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub tc: TcChoice,
}

impl AttachArgs {
    /// Returns the choices as plain data.
    pub fn choices(self) -> Attach {
        Attach { xdp: self.xdp, tc: self.tc }
    }
}

impl ValueEnum for XdpChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Native, Self::Generic, Self::Off]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Auto => ("auto", "The mode that disturbs this interface least, or none"),
            Self::Native => ("native", "In the driver; may reset the link of some network cards"),
            Self::Generic => ("generic", "In the kernel's receive path, for any driver"),
            Self::Off => ("off", "Not at all: tc ingress is used instead"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for TcChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Tcx, Self::Clsact]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Auto => ("auto", "TCX where the kernel has it, else clsact"),
            Self::Tcx => ("tcx", "A TCX link (Linux 6.6 and later): goes away with the process"),
            Self::Clsact => ("clsact", "A filter on a clsact qdisc, as kernels before 6.6 need"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

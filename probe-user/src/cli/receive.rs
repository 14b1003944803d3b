//! `probe receive`.

use std::time::Duration;

use super::attach::AttachArgs;
use clap::Args;

use super::{send::FamilyChoice, values::positive_seconds};
use crate::model::ids::IdRange;

/// Print each echo packet as it enters this host, before netfilter, routing or any socket sees it.
#[derive(Args, Debug)]
pub struct Receive {
    /// The interface to read from [default: every one that is up]
    #[arg(short = 'I', long = "interface", value_name = "IFACE")]
    pub interfaces: Vec<String>,
    /// Only these ids, e.g. 7, 0x2b or 100-199 (may be given more than once)
    #[arg(short = 'e', long = "id", value_name = "ID[-ID]")]
    pub ids: Vec<IdRange>,
    /// Stop after this many packets
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after this many seconds
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub timeout: Option<Duration>,
    /// Keep the packets from the kernel, so that it neither answers nor consumes them; ends with this command
    #[arg(long, requires = "ids")]
    pub absorb: bool,
    /// Which IP version to print.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// Where to attach.
    #[command(flatten)]
    pub attach: AttachArgs,
}

//! `probe receive`.

use std::time::Duration;

use super::attach::AttachArgs;
use clap::Args;

use super::{send::FamilyChoice, values::positive_seconds};
use crate::model::ids::IdRange;

/// Print each echo packet as it enters this host, before netfilter, routing or any socket sees it.
#[derive(Args, Debug)]
pub struct Receive {
    /// Interface to read from (may be given more than once) [default: all that are up]
    #[arg(short = 'I', long = "interface", value_name = "IFACE")]
    pub interfaces: Vec<String>,
    /// Print only these echo ids, e.g. 7, 0x2b or 100-199 (may be given more than once)
    #[arg(short = 'e', long = "id", value_name = "ID[-ID]")]
    pub ids: Vec<IdRange>,
    /// Stop after this many packets [default: no limit]
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after this many seconds [default: no limit]
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub timeout: Option<Duration>,
    /// Drop these packets before the network stack sees them, so that the kernel neither answers nor delivers them
    #[arg(long, requires = "ids")]
    pub absorb: bool,
    /// The IP version to print.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// How the kernel programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
}

//! `probe filter guard`.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use crate::{
    cli::values::positive_seconds,
    filter::guard::{Protect, Refresh, StateKey},
    model::attach::XdpChoice,
};

/// Let echo replies pass only where a request went the other way, as a stateful firewall does.
///
/// With its defaults it is a cloud's security group on one interface: replies that come in pass if a request with the
/// same addresses and id went out. On a router it guards what is forwarded through that interface.
#[derive(Args, Debug)]
pub struct GuardArgs {
    /// The network interface to guard
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Which way the replies travel that need a request, as the interface sees it
    #[arg(long, value_enum, default_value = "in", value_name = "WAY")]
    pub protect: Protect,
    /// By which fields a reply is matched with its request: addresses (or source, destination: the request's), id, seq,
    /// code
    #[arg(long, value_name = "FIELDS", default_value = "addresses,id", help_heading = "What is remembered")]
    pub key: StateKey,
    /// Know code 0 only: other requests allow no reply, and other replies are dropped
    #[arg(long, help_heading = "What is remembered")]
    pub code_zero: bool,
    /// How long a request is remembered
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds, help_heading = "What is remembered")]
    pub timeout: Duration,
    /// How long it is remembered from the first reply on [default: as long as before]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, help_heading = "What is remembered")]
    pub timeout_after_reply: Option<Duration>,
    /// Which packets begin that time anew: request, reply, both, or none
    #[arg(long, value_name = "PACKETS", default_value = "request,reply", help_heading = "What is remembered")]
    pub refresh: Refresh,
    /// How many replies pass for each request; 0: any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "What is remembered")]
    pub replies: u32,
    /// For how many requests there is room; one address (IPv6: one /64) can take half of it
    #[arg(long, value_name = "NUMBER", default_value_t = 65_536, help_heading = "What is remembered")]
    pub states: u32,
    /// Drop the requests that travel the guarded way, as a security group without an inbound rule does
    #[arg(long)]
    pub deny_requests: bool,
    /// Judge and count, but drop nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Let everything pass again after this many seconds; the kernel does that, also if probe is killed
    #[arg(long = "for", value_name = "SECONDS", value_parser = positive_seconds)]
    pub lifetime: Option<Duration>,
    /// Guard only as long as this command runs, until Ctrl-C
    #[arg(long)]
    pub until_exit: bool,
    /// See what enters at XDP, so; off: at tc, beside whatever XDP program is there
    #[arg(long, value_enum, default_value = "off", help_heading = "Attaching")]
    pub xdp: XdpChoice,
}

impl GuardArgs {
    /// How many replies pass for each request.
    pub fn reply_limit(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.replies)
    }
}

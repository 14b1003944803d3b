//! `probe filter guard`.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use crate::{
    cli::values::positive_seconds,
    filter::guard::{Protect, Refresh, StateKey},
    model::attach::XdpChoice,
};

/// Let echo replies pass only if a request went the other way, as a stateful firewall does.
///
/// The defaults behave like a cloud security group on one interface: incoming replies pass if a request with the same
/// addresses and id went out. On a router, the guard applies to packets forwarded through that interface.
#[derive(Args, Debug)]
pub struct GuardArgs {
    /// Network interface to guard
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Direction of the replies that need a request, as seen from this host
    #[arg(long, value_enum, default_value = "in", value_name = "WAY")]
    pub protect: Protect,
    /// Fields that must match between a reply and its request: addresses (or only source or destination, as in the
    /// request), id, seq, code
    #[arg(long, value_name = "FIELDS", default_value = "addresses,id", help_heading = "What is remembered")]
    pub key: StateKey,
    /// Accept only ICMP code 0: requests with another code allow no reply, and replies with another code are dropped
    #[arg(long, help_heading = "What is remembered")]
    pub code_zero: bool,
    /// How long a request is remembered, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds, help_heading = "What is remembered")]
    pub timeout: Duration,
    /// How long it is remembered after the first reply, in seconds [default: same as --timeout]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, help_heading = "What is remembered")]
    pub timeout_after_reply: Option<Duration>,
    /// Packets that restart the timeout: request and reply (comma-separated), or none
    #[arg(long, value_name = "PACKETS", default_value = "request,reply", help_heading = "What is remembered")]
    pub refresh: Refresh,
    /// Number of replies that pass for each request; 0 means no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "What is remembered")]
    pub replies: u32,
    /// Maximum number of requests remembered; one address (or IPv6 /64) can use at most half of it
    #[arg(long, value_name = "NUMBER", default_value_t = 65_536, help_heading = "What is remembered")]
    pub states: u32,
    /// Also drop requests in the guarded direction, like a security group without an inbound rule
    #[arg(long)]
    pub deny_requests: bool,
    /// Only count what would be dropped
    #[arg(long)]
    pub dry_run: bool,
    /// Let everything pass again after this many seconds; the kernel enforces this even if probe is killed [default: never]
    #[arg(long = "for", value_name = "SECONDS", value_parser = positive_seconds)]
    pub lifetime: Option<Duration>,
    /// Keep running, and remove the guard when this command ends, e.g. on Ctrl-C
    #[arg(long)]
    pub until_exit: bool,
    /// How to attach XDP for incoming packets; off uses tc, next to any XDP program that is there
    #[arg(long, value_enum, default_value = "off", help_heading = "Attaching")]
    pub xdp: XdpChoice,
}

impl GuardArgs {
    /// Returns how many replies pass for each request, or `None` for no limit.
    pub fn reply_limit(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.replies)
    }
}

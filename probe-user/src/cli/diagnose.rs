//! `probe diagnose`.

use std::{net::IpAddr, time::Duration};

use clap::Args;
use probe_ebpf::journey::{MARK_BYTES, MAX_PROBES};

use super::{
    send::FamilyChoice,
    values::{positive_seconds, seconds},
};
use crate::{
    diagnosis::Responder,
    model::{attach::Attach, ids::echo_number},
};

/// Say exactly where echo packets stop: on this host, on the way, or, with --peer, on the far host.
///
/// Sends marked echo requests, watches every hop of this host's kernel (and of the far one's), and prints one verdict:
/// host, layer, function and reason. It ends as soon as it is known what became of every packet.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct DiagnoseArgs {
    /// Whom to ping: a name or an address; link-local IPv6 with %IFACE behind it
    pub target: String,
    /// How many probes
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PROBES)))]
    pub count: u16,
    /// Seconds between two probes
    #[arg(short, long, value_name = "SECONDS", default_value = "0.05", value_parser = seconds)]
    pub interval: Duration,
    /// Payload bytes, the mark of a probe included
    #[arg(short, long, value_name = "BYTES", default_value_t = 56,
          value_parser = clap::value_parser!(u16).range(MARK_BYTES as i64..=65_507))]
    pub size: u16,
    /// TTL (IPv4) or hop limit (IPv6)
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: Option<u8>,
    /// Wait this many seconds after the last probe for what is still on its way
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "1", value_parser = positive_seconds)]
    pub timeout: Duration,
    /// The echo id, decimal or 0x-hex [default: random, one that no other ping here uses]
    #[arg(short = 'e', long, value_parser = echo_number)]
    pub id: Option<u16>,
    /// The source address; it must be one of this host's
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// The interface that the route to the target must leave by [default: whichever it does]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Forbid fragmentation, here and (the DF bit of IPv4) on the way
    #[arg(long)]
    pub df: bool,
    /// Send echo replies that nobody asked for instead of requests; only a far end can say that they arrive
    #[arg(long)]
    pub reply_only: bool,
    /// Which IP version to use where the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// A command whose stdin and stdout reach a `probe agent` on the far host
    #[arg(long, value_name = "CMD", help_heading = "The far host")]
    pub peer: Option<String>,
    /// CMD is only the start of a command, such as 'ssh b sudo': take this very program there, run it, leave nothing
    #[arg(long, requires = "peer", help_heading = "The far host")]
    pub deploy: bool,
    /// Who answers at the far end; only this run's packets are touched, and only as long as it lasts
    #[arg(
        long,
        value_enum,
        default_value_t,
        requires = "peer",
        conflicts_with = "reply_only",
        help_heading = "The far host"
    )]
    pub responder: Responder,
    /// Where not every probe is answered, raise the TTL step by step to learn which router last answers
    #[arg(long, help_heading = "Looking further")]
    pub walk: bool,
    /// Have nftables name the exact rule that drops a probe: adds a table of probe's own, and removes it
    #[arg(long, help_heading = "Looking further")]
    pub trace_rules: bool,
    /// Watch this network namespace alone, as if every other of this kernel were another machine (PROBE_OWN_NAMESPACE=1
    /// says so too)
    #[arg(long, help_heading = "Looking further")]
    pub own_namespace: bool,
    /// Where to attach on this host; the far host's agent has its own flags.
    #[command(flatten)]
    pub attach: Attach,
}

const AFTER_HELP: &str = "\
Examples:
  probe diagnose b.example                                  what this host alone can tell
  probe diagnose b --peer 'ssh b sudo probe agent'          both ends
  probe diagnose b --peer 'ssh b sudo' --deploy             both ends, where b has no probe
  probe diagnose b --peer 'ssh b sudo probe agent' --responder xdp      is it b's stack, or the way there?
  probe diagnose b --peer 'kubectl exec -i pod -- probe agent'
  probe diagnose 10.0.0.2 -s 1473 --df                      does a packet of 1501 bytes get through?

Exit status: 0 every probe was answered · 1 they stop, are lost in part, or are altered ·
2 could not measure · 130 interrupted, with what was learned";

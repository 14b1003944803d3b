//! `probe diagnose`.

use std::{net::IpAddr, time::Duration};

use super::attach::AttachArgs;
use clap::{ArgGroup, Args};
use probe_ebpf::journey::{MARK_BYTES, MAX_PROBES};

use super::{
    as_ping::{BoundTo, PingFlags, SourceOrBuffer},
    place::PlaceArgs,
    send::FamilyChoice,
    values::seconds,
};
use crate::{
    diagnosis::{Responder, control::VariedField},
    host::identity::WantedIdentity,
    model::ids::echo_number,
    traffic::target::{family_of, literal_family},
};

/// Find out exactly where echo packets stop: on this host, on the path, or, with --peer, on the far host.
///
/// Sends marked echo requests, watches them at every hop in this host's kernel (and in the far host's, with --peer, and at
/// every interface of hosts in between, with --via), and prints one verdict: host, layer, function and reason. Ends as soon as it is known what became of every packet.
#[derive(Args, Debug)]
#[command(
    after_help = AFTER_HELP,
    args_override_self = true,
    group = ArgGroup::new("reached").args(["peer", "via"]).multiple(true)
)]
pub struct DiagnoseArgs {
    /// Target host, as a name or an IP address (link-local IPv6 as ADDRESS%IFACE)
    #[arg(required_unless_present = "passive")]
    pub target: Option<String>,
    /// Send nothing; follow the echoes of other programs instead: all that this host sends, answers or forwards, or
    /// only those to TARGET or with the id of -e
    ///
    /// Watches for 10 seconds (or as long as -w says), until -c echoes were seen or until Ctrl-C, and then waits for
    /// replies as long as -W says. Echoes are grouped by program, addresses and id: the verdict is on the group that
    /// lost most, and each of the others gets a line. An echo is left out if its request left before every hop was
    /// watched; one that may still be answered is not counted as lost.
    #[arg(long, conflicts_with_all = ["interval", "size", "ttl", "sources", "df", "reply_only", "peer", "via", "deploy", "walk", "trace_rules", "preload", "flood", "adaptive", "send_as"])]
    pub passive: bool,
    /// Number of probes to send [default: 10]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PROBES)))]
    pub count: Option<u16>,
    /// Interval between probes, in seconds [default: 0.05]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub interval: Option<Duration>,
    /// Payload size in bytes; with 16 or more, it holds a mark that identifies the probe
    #[arg(short, long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65_527))]
    pub size: u16,
    /// TTL (IPv4) or hop limit (IPv6), 1 to 255, or 0 over IPv6 [default: this host's]
    #[arg(short, long)]
    pub ttl: Option<u8>,
    /// How long to wait for packets still in flight after the last probe, in seconds
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub timeout: Duration,
    /// Echo id, in decimal or hex (0x2b) [default: a random one that no other ping here uses]
    #[arg(short = 'e', long, value_parser = echo_number)]
    pub id: Option<u16>,
    /// Source address, which must belong to this host [default: chosen by the route]; a plain number is the size of the
    /// send buffer in bytes, as in ping
    #[arg(short = 'S', long = "source", value_name = "ADDRESS")]
    pub sources: Vec<SourceOrBuffer>,
    /// Bind the socket to this interface, so that it sends and receives only there; an address is taken as the source,
    /// as with -S
    #[arg(short = 'I', long = "interface", value_name = "IFACE")]
    pub interfaces: Vec<BoundTo>,
    /// Forbid fragmentation, on this host and (by the DF bit of IPv4) on the path
    #[arg(long)]
    pub df: bool,
    /// Send unsolicited echo replies instead of requests; only with --peer can their arrival be confirmed
    #[arg(long)]
    pub reply_only: bool,
    /// The IP version to use if the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// The flags of ping.
    #[command(flatten)]
    pub ping: PingFlags,
    /// Command that starts `probe agent` on the far host and connects to its stdin and stdout
    #[arg(long, value_name = "CMD", help_heading = "Other hosts")]
    pub peer: Option<String>,
    /// Command that reaches `probe agent` on a host in between, such as a router; repeatable, in any order
    ///
    /// The agent watches only this run's packets, at every interface of its host, and sends nothing. Where on the path its
    /// host is follows from what it sees.
    #[arg(long, value_name = "CMD", help_heading = "Other hosts")]
    pub via: Vec<String>,
    /// Copy this program to each of these hosts, run it there and remove it; CMD is then only a prefix, such as 'ssh b sudo'
    #[arg(long, requires = "reached", help_heading = "Other hosts")]
    pub deploy: bool,
    /// Who answers the requests on the far host; this affects only this run's packets, and only while it runs
    #[arg(
        long,
        value_enum,
        default_value_t,
        requires = "peer",
        conflicts_with = "reply_only",
        help_heading = "Other hosts"
    )]
    pub responder: Responder,
    /// If any probe stays unanswered, raise the TTL step by step to find the last router that answers
    #[arg(long, help_heading = "Looking further")]
    pub walk: bool,
    /// Do not send further packets to find the cause of a loss: at another pace, shorter, with another id, payload or
    /// DSCP, or with a rising TTL
    #[arg(long, help_heading = "Looking further")]
    pub no_controls: bool,
    /// If probes stop, send otherwise equal ones with one field changed, and report the smallest change that lets them
    /// pass
    ///
    /// Each change is proven by unchanged packets before and after. All fields are tried, or only those that are named.
    /// Sends at most 300 packets in 10 seconds, using only the addresses of this run and, for `source`, this host's
    /// own.
    #[arg(
        long,
        value_enum,
        value_name = "FIELD,…",
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true,
        conflicts_with_all = ["passive", "reply_only", "no_controls"],
        help_heading = "Looking further"
    )]
    pub vary: Option<Vec<VariedField>>,
    /// Let nftables name the exact rule that drops a probe; adds a table while the run lasts
    #[arg(long, help_heading = "Looking further")]
    pub trace_rules: bool,
    /// Watch this network namespace only, as if all others on this kernel were other machines
    ///
    /// The environment variable `PROBE_OWN_NAMESPACE=1` does the same.
    #[arg(long, help_heading = "Looking further")]
    pub own_namespace: bool,
    /// What the exit status tells of packets that do not come back: that they do not, or where they stop
    ///
    /// With `stage` it is 16 for this host, 32 for a place in between, 48 for the network between two places, 64 for the far end
    /// and 80 for what was not watched, and from 1 to 13 more for the layer, as docs/causes lists them.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, help_heading = "Looking further")]
    pub exit_code: StatusTells,
    /// The network namespace to work in.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Send as this process, unit of systemd, container or user would: from its network namespace, cgroup, user, groups and
    /// security label
    ///
    /// Programs at its cgroup, `meta skuid`, `socket cgroupv2`, `ip rule uidrange` and `ping_group_range` then meet the probes as
    /// they meet it; the hops are watched with probe's own rights. Where probes stop, some more are sent as probe itself: if those
    /// pass, it is the sender that decides. Of a unit it is the oldest process, of a container the first; a user is in everything
    /// else as probe is, so that --netns and --container go with it. What cannot be taken on, such as a seccomp
    /// filter, is told.
    #[arg(long = "as", value_name = "PID|unit:NAME|container:ID|user:NAME", help_heading = "From where")]
    pub send_as: Option<WantedIdentity>,
    /// How the kernel programs are attached on this host; the agent on the far host has its own flags.
    #[command(flatten)]
    pub attach: AttachArgs,
}

/// What the exit status tells of packets that do not come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusTells {
    /// 1: they stop, are lost in part, or are altered
    #[default]
    Outcome,
    /// Where most of them stop: which host, and which layer
    Stage,
}

/// The default time between two probes.
const INTERVAL: Duration = Duration::from_millis(50);

impl DiagnoseArgs {
    /// Returns the target as it was typed; empty if there is none.
    pub fn target(&self) -> &str {
        self.target.as_deref().unwrap_or_default()
    }

    /// Returns the device that the socket is bound to.
    pub fn device(&self) -> Option<&str> {
        let device = |interface: &'_ BoundTo| matches!(interface, BoundTo::Device(_) | BoundTo::Address(_, Some(_)));
        self.interfaces.iter().rfind(|interface| device(interface)).map(|interface| match interface {
            BoundTo::Device(name) | BoundTo::Address(_, Some(name)) => name.as_str(),
            BoundTo::Address(_, None) => "",
        })
    }

    /// Returns the address that `-I` gave.
    pub fn bound_address(&self) -> Option<IpAddr> {
        self.interfaces.iter().rev().find_map(|interface| match interface {
            BoundTo::Address(address, _) => Some(*address),
            BoundTo::Device(_) => None,
        })
    }

    /// Returns the source address of the packets. As in ping, an address of `-I` that is not of the IP version that the target's
    /// address or a flag asks for is none.
    pub fn source(&self) -> Option<IpAddr> {
        let asked = self.family.only().or_else(|| literal_family(self.target()));
        let bound = self.bound_address().filter(|bound| asked.is_none_or(|asked| asked == family_of(*bound)));
        let named = self.sources.iter().rev().find_map(|source| match source {
            SourceOrBuffer::Address(address) => Some(*address),
            SourceOrBuffer::SendBuffer(_) => None,
        });
        named.or(bound)
    }

    /// Returns the bytes of the send buffer that was asked for.
    pub fn send_buffer(&self) -> Option<u32> {
        self.sources.iter().rev().find_map(|source| match source {
            SourceOrBuffer::SendBuffer(bytes) => Some(*bytes),
            SourceOrBuffer::Address(_) => None,
        })
    }

    /// Returns the time between two probes.
    pub fn pace(&self) -> Duration {
        self.interval.or(self.ping.interval()).unwrap_or(INTERVAL)
    }

    /// Returns how many replies end the sending, if both a deadline and a count are given.
    pub fn enough(&self) -> Option<u16> {
        self.ping.deadline.and(self.count)
    }

    /// Returns how many probes are sent at most: with a deadline and a count, as many as there is time for.
    pub fn probes(&self) -> u16 {
        match (self.ping.deadline, self.count) {
            (_, None) => COUNT,
            (None, Some(count)) => count,
            (Some(_), Some(_)) => u16::try_from(MAX_PROBES).unwrap_or(u16::MAX),
        }
    }

    /// Returns whether a packet without a mark is known by its id and sequence number: if there is no room for a mark,
    /// or if probe chooses an id that no other ping here uses.
    pub fn numbered(&self) -> bool {
        self.responder == Responder::Kernel && (usize::from(self.size) < MARK_BYTES || self.id.is_none())
    }
}

/// The default number of probes.
const COUNT: u16 = 10;

const AFTER_HELP: &str = "\
Examples:
  probe diagnose b.example                                  what this host alone can see
  probe diagnose b --peer 'ssh b sudo probe agent'          both ends
  probe diagnose b --via 'ssh r1 sudo probe agent'          a router on the way, too
  probe diagnose b --peer 'ssh b sudo' --deploy             both ends, if probe is not installed on b
  probe diagnose b --peer 'ssh b sudo probe agent' --responder xdp      is it b's stack, or the path?
  probe diagnose b --peer 'kubectl exec -i pod -- probe agent'
  probe diagnose 10.0.0.2 --container web                   from a container, over this host, and on
  probe diagnose b --as unit:nagios                         as the service that says that b is down
  probe diagnose --passive b.example                        where do the pings of other programs to b stop?
  probe diagnose 10.0.0.2 -s 1473 --df                      does a packet of 1501 bytes get through?

Exit status: 0 every probe was answered · 1 probes stop, some are lost, or they are altered (with
--exit-code stage a number from 17 to 93 that names host and layer) · 2 could not measure · 130 interrupted; what was learned so far is printed";

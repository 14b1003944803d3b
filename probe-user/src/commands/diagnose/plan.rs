//! What a run sends, and what this host watches of it, by its flags.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::net::if_::if_indextoname;
use probe_ebpf::{
    Echo,
    journey::{MARK_BYTES, MAX_PROBES},
};

use super::{
    super::place::everywhere,
    place::{self, Egress},
};
use crate::{
    cli::diagnose::DiagnoseArgs,
    error::Failure,
    model::request::{HostRole, RequestHandling, RouteChoosers, WatchRequest},
    traffic::{Fragmentation, ProbePlan, ProgramSocket, ResolvedTarget, Settings},
};

/// Returns what this host is to watch.
pub(super) fn request(
    args: &DiagnoseArgs,
    target: &ResolvedTarget,
    place: &Egress,
    nonce: u64,
    id: u16,
) -> WatchRequest {
    WatchRequest {
        nonce,
        id,
        probes: numbers(args),
        local: place.local(target),
        remote: target.address.ip(),
        interface: place.interface.clone(),
        role: HostRole::Sender,
        attach: args.attach.choices(),
        trace_rules: args.trace_rules,
        everywhere: everywhere(args.own_namespace),
        requests: RequestHandling::Pass,
        source_given: args.source().is_some() || args.ping.sticky_source,
        further: Vec::new(),
        tunnels: place::tunnels(),
        numbered_from: numbered_from(args),
        sent_as: place.identity.as_ref().map(|identity| Box::new(identity.sent_as.clone())),
        choosers: RouteChoosers {
            mark: args.ping.mark.unwrap_or(0),
            tos: args.ping.tos(),
            bound: args.device().map(str::to_owned).or_else(|| zone(target)),
        },
    }
}

/// Returns the interface that the target's address names.
fn zone(target: &ResolvedTarget) -> Option<String> {
    let SocketAddr::V6(address) = target.address else { return None };
    let index = Some(address.scope_id()).filter(|index| *index != 0)?;
    if_indextoname(index).ok()?.into_string().ok()
}

/// Returns what of the flags has no effect on the way to this target, as it has none in ping.
///
/// # Errors
/// A TTL of 0 was asked for, which IPv4 sockets do not take.
pub(super) fn unlike_asked(args: &DiagnoseArgs, target: &ResolvedTarget) -> Result<Vec<String>, Failure> {
    let to = target.address.ip();
    if args.ttl == Some(0) && to.is_ipv4() {
        return Err(Failure::new("IPv4 takes no TTL of 0", "-t 1 is the smallest"));
    }
    let mut remarks = Vec::new();
    if let Some(unused) = args.bound_address().filter(|bound| bound.is_ipv4() != to.is_ipv4()) {
        remarks.push(format!("-I {unused} counts for nothing on the way to {to}, which is of the other IP version"));
    }
    if args.ping.connected && to.is_ipv6() {
        remarks.push("-C counts for nothing over IPv6, as with ping: the socket is not connected".to_owned());
    }
    Ok(remarks)
}

/// Reports whether one more probe may go ahead, to show what there is to watch: where there is a number left for it.
pub(super) fn looks_ahead(args: &DiagnoseArgs) -> bool {
    // Without a mark it could not be told from the first of the run.
    let marked = usize::from(args.size) >= MARK_BYTES;
    everywhere(args.own_namespace) && marked && u32::from(args.probes()) < MAX_PROBES
}

/// Counts how many probes this run may send, the one ahead included.
pub(super) fn numbers(args: &DiagnoseArgs) -> u16 {
    args.probes() + u16::from(looks_ahead(args))
}

/// Returns the sequence number from which probes are known without a mark too, where they are.
pub(super) fn numbered_from(args: &DiagnoseArgs) -> Option<u16> {
    (args.numbered() && !args.reply_only).then_some(FIRST_SEQ)
}

/// Returns how long to wait for the last reply. As ping has it, no time is the default.
pub(in crate::commands) fn reply_wait(asked: Duration) -> Duration {
    const WAIT: Duration = Duration::from_secs(1);
    if asked.is_zero() { WAIT } else { asked }
}

/// The sequence number of the first probe, as that of `ping`.
const FIRST_SEQ: u16 = 1;

/// Returns what the run sends, and as whom.
pub(super) fn plan(args: &DiagnoseArgs, target: &ResolvedTarget, place: &Egress, nonce: u64, id: u16) -> ProbePlan {
    let echo = if args.reply_only { Echo::Reply } else { Echo::Request };
    let sticky = place.source.filter(|_| args.ping.sticky_source);
    let settings = Settings {
        source: args.source().or(sticky),
        interface: place.bind_to.clone(),
        ttl: args.ttl,
        dscp: args.ping.tos() >> 2,
        ecn: args.ping.tos() & 3,
        mark: args.ping.mark,
        fragmentation: fragmentation(args, target.address.ip()),
        program: Some(ProgramSocket {
            raw: false,
            broadcast: args.ping.broadcast,
            no_loop: args.ping.no_loop,
            flow_label: args.ping.flow_label,
            dont_route: args.ping.bypass_routes,
            debug: args.ping.debug,
            connected: args.ping.connected && target.address.is_ipv4(),
            send_buffer: args.send_buffer(),
            options: args.ping.header_options(),
        }),
        identity: place.identity.clone(),
        ..Settings::new(echo, target.address)
    };
    ProbePlan {
        settings,
        first_seq: FIRST_SEQ,
        count: args.probes(),
        interval: args.pace(),
        size: args.size,
        wait: reply_wait(args.timeout),
        numbered: args.numbered(),
        pattern: args.ping.pattern.clone(),
        adaptive: args.ping.adaptive || args.ping.flood,
        preload: args.ping.preload,
        deadline: args.ping.deadline,
        enough: args.enough(),
        until_error: args.ping.deadline.is_some(),
        ..ProbePlan::new(target.address, id, nonce)
    }
}

/// Returns whether packets may be fragmented: as ping does, which lets groups have no fragments on the path.
fn fragmentation(args: &DiagnoseArgs, target: IpAddr) -> Fragmentation {
    let group = args.ping.broadcast || target.is_multicast() && target.is_ipv4();
    match args.ping.path_mtu {
        _ if args.df => Fragmentation::Forbidden,
        Some(path_mtu) => path_mtu.fragmentation(),
        None if group => Fragmentation::Nowhere,
        None => Fragmentation::AsHost,
    }
}

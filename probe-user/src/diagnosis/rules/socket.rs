//! Rules about the program's own socket: replies that reached this host, but that the kernel does not give to it.

use std::{collections::BTreeSet, net::IpAddr};

use probe_ebpf::{Echo, Hop};

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence, alterations,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::DropPoint,
    },
    model::trace::ProbePassage,
};

/// The last hops of a reply before any socket, the last first.
const BEFORE_SOCKETS: [Hop; 4] = [Hop::NfInputLast, Hop::NfInputFirst, Hop::NfPreroutingLast, Hop::NfPreroutingFirst];

/// Judges replies that came in by another device than the socket is bound to (`raw_v4_match` and kin in
/// `net/ipv4/raw.c`, `ping_lookup` in `net/ipv4/ping.c`).
pub(super) fn bound_device(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spot(Side::Local, DropPoint::SocketLookup)?;
    let socket = evidence.sending.socket.as_ref()?;
    let bound = socket.bound_to?;
    let devices: Option<BTreeSet<u32>> =
        gap.probes.iter().map(|probe| at_input(evidence, *probe).map(|passage| passage.ifindex)).collect();
    let devices = devices.filter(|devices| !devices.is_empty() && !devices.contains(&bound))?;
    let name = |index: &u32| socket.devices.get(index).cloned().unwrap_or_else(|| format!("device {index}"));
    let came = devices.iter().map(name).collect::<Vec<_>>().join(" and ");
    let detail = format!("they came in on {came}; a socket bound to {} does not get them", name(&bound));
    let cause = Cause { reason: Some("SO_BINDTODEVICE".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Direct)
}

/// Judges replies that came from another address than the socket is connected to (`raw_v4_match` in `net/ipv4/raw.c`).
pub(super) fn connected(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spot(Side::Local, DropPoint::SocketLookup)?;
    evidence.sending.socket.as_ref().filter(|socket| socket.connected)?;
    let sources: Option<BTreeSet<IpAddr>> =
        gap.probes.iter().map(|probe| at_input(evidence, *probe).and_then(|passage| passage.source)).collect();
    let from = sources?.into_iter().next()?;
    let detail = format!("they came from {from}; a socket connected to {} does not get them", evidence.target.address);
    let cause = Cause { reason: Some("CONNECTED".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Direct)
}

/// Judges probes to this host's own address, which is reached through `lo`, from a socket that is bound to another
/// device: the address is asked for on that link, where nobody has it.
pub(super) fn own_address(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spot(Side::Local, DropPoint::Neighbour)?;
    let socket = evidence.sending.socket.as_ref()?;
    let (at, bound) = (socket.target_at.as_deref()?, socket.devices.get(&socket.bound_to?)?);
    if at == bound {
        return None;
    }
    let target = evidence.target.address;
    let detail = format!(
        "{target} is this host's own address, on {at}; the socket is bound to {bound}, so it is asked for on that link"
    );
    let cause = Cause { reason: Some("SO_BINDTODEVICE".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Explains)
}

/// Judges replies of this host's own address to a socket that is bound to `lo`: IPv4 takes them for packets that came in by the device
/// which has the address (`inet_iif`, and `rt_iif` of a local route).
pub(super) fn not_of_lo(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spot(Side::Local, DropPoint::SocketLookup).filter(|_| !evidence.is_v6())?;
    let socket = evidence.sending.socket.as_ref()?;
    let (at, bound) = (socket.target_at.as_deref()?, socket.devices.get(&socket.bound_to?)?);
    if bound != "lo" || at == "lo" || gap.leg != Echo::Reply {
        return None;
    }
    let target = evidence.target.address;
    let detail = format!(
        "{target} is an address of {at}, so they count as received on {at}, though they cross lo; a socket bound to lo does not \
         get them"
    );
    let cause = Cause { reason: Some("SO_BINDTODEVICE".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Explains)
}

/// Judges replies that came with another id than the program's, so that it takes them for another's.
pub(super) fn other_id(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spot(Side::Local, DropPoint::SocketLookup)?;
    evidence.sending.socket.as_ref()?;
    let ids: Option<BTreeSet<(u16, u16)>> =
        gap.probes.iter().map(|probe| Some((evidence.probe(*probe)?.id, at_input(evidence, *probe)?.id))).collect();
    let ids = ids?;
    let (sent, came) = *ids.first().filter(|_| ids.iter().all(|(sent, came)| sent != came))?;
    let detail = format!("they came with id {came}; the program has {sent}, and takes them for another's");
    let cause = Cause { reason: Some("ECHO_ID".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Direct)
}

/// Returns what was seen of the reply to a probe when it left the firewall for the sockets.
fn at_input(evidence: &Evidence, probe: u16) -> Option<ProbePassage> {
    BEFORE_SOCKETS.iter().find_map(|hop| alterations::step(evidence, Echo::Reply, Side::Local, *hop, probe))
}

//! How long it took, and where the time goes. No two clocks are compared: each difference is of one host's clock.

use probe_ebpf::Echo;
use probe_ebpf::Hop;

use super::{
    Evidence,
    alterations::step,
    document::{RoundTrips, Segment},
    path::Side,
};
use crate::model::trace::SentProbe;

/// Returns the round trips; `None` if nothing was answered.
pub(super) fn round_trips(evidence: &Evidence) -> Option<RoundTrips> {
    if evidence.one_way() {
        return None;
    }
    let of = |sent: &SentProbe| {
        let received = evidence.sending.received.get(&sent.probe)?;
        received.time_ns.checked_sub(sent.sent_ns)
    };
    let mut times: Vec<u64> = evidence.sending.probes.iter().filter_map(of).collect();
    times.sort_unstable();
    let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
    Some(RoundTrips { min: rank(0)?, p50: rank(50)?, p90: rank(90)?, p99: rank(99)?, max: *times.last()? })
}

/// The stretches of one round trip, in nanoseconds.
struct Trip {
    out: u64,
    between: u64,
    far: Option<u64>,
    back: u64,
}

const ENTRY: [Hop; 3] = [Hop::XdpIn, Hop::NetifIn, Hop::TcIn];
const EXIT: [Hop; 3] = [Hop::Xmit, Hop::DevQueue, Hop::TcOut];

/// Returns where the time goes, by medians; empty if hops have no times, or nothing was answered.
pub(super) fn stages(evidence: &Evidence) -> Vec<Segment> {
    if evidence.one_way() || evidence.loops_back() {
        return Vec::new();
    }
    let trips: Vec<Trip> = evidence.sending.probes.iter().filter_map(|sent| trip(evidence, sent)).collect();
    let near = evidence.name(Side::Local);
    let far = if evidence.passes_by_the_peer() { evidence.target.name.clone() } else { evidence.name(Side::Peer) };
    let with_far = trips.iter().all(|trip| trip.far.is_some());
    let between = if with_far { "wire".to_owned() } else { format!("wire and {far}") };
    let of = |pick: &dyn Fn(&Trip) -> Option<u64>| median(trips.iter().filter_map(pick).collect());
    [
        (format!("{near}, out"), of(&|trip| Some(trip.out))),
        (between, of(&|trip| Some(if with_far { trip.between - trip.far.unwrap_or(0) } else { trip.between }))),
        (far, if with_far { of(&|trip| trip.far) } else { None }),
        (format!("{near}, in"), of(&|trip| Some(trip.back))),
    ]
    .into_iter()
    .filter_map(|(stage, p50_ns)| Some(Segment { stage, p50_ns: p50_ns? }))
    .collect()
}

fn trip(evidence: &Evidence, sent: &SentProbe) -> Option<Trip> {
    let first = |leg, side, hops: &[Hop]| {
        let times = hops.iter().find_map(|hop| step(evidence, leg, side, *hop, sent.probe));
        times.map(|step| step.first_ns).filter(|time| *time != 0)
    };
    let read = evidence.sending.received.get(&sent.probe)?.time_ns;
    let (left, came) = (first(Echo::Request, Side::Local, &EXIT)?, first(Echo::Reply, Side::Local, &ENTRY)?);
    let between = came.checked_sub(left)?;
    let far = if evidence.two_sided() {
        let (entered, answered) = (first(Echo::Request, Side::Peer, &ENTRY), first(Echo::Reply, Side::Peer, &EXIT));
        entered.zip(answered).and_then(|(entered, answered)| answered.checked_sub(entered))
    } else {
        None
    };
    Some(Trip {
        out: left.checked_sub(sent.sent_ns)?,
        between,
        far: far.filter(|far| *far <= between),
        back: read.checked_sub(came)?,
    })
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied()
}

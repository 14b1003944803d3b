//! What became of payloads, checksums and marks, a sentence each: alterations that are no loss.

use std::collections::BTreeMap;

use probe_ebpf::{Echo, journey::MARK_BYTES};

use super::{counted, step};
use crate::{
    diagnosis::{
        Evidence,
        path::{Checkpoint, Station, journey},
    },
    model::trace::PayloadChange,
};

/// Returns what is worth knowing of them.
pub(super) fn notes(evidence: &Evidence) -> Vec<String> {
    let mut notes = changed(evidence);
    notes.extend(bad_checksums(evidence));
    notes.extend(markless(evidence));
    notes
}

/// Replies whose payload is not what was sent, by how it first differs, and where that shows first.
fn changed(evidence: &Evidence) -> Vec<String> {
    let mut changes: BTreeMap<PayloadKind, (usize, PayloadChange)> = BTreeMap::new();
    for change in evidence.sending.received.values().filter_map(|received| received.altered) {
        changes.entry(kind(change)).or_insert((0, change)).0 += 1;
    }
    let marked = evidence.sending.socket.as_ref().is_none_or(|socket| usize::from(socket.size) >= MARK_BYTES);
    let place =
        changes.values().any(|(_, change)| marked && in_mark(*change)).then(|| first_unmarked(evidence)).flatten();
    let place =
        place.map(|at| format!(", first seen like this at {} of {}", at.station.name(), evidence.name(at.host)));
    let place = place.unwrap_or_default();
    let told = |(count, change): &(usize, PayloadChange)| {
        let replies = counted(*count, ("reply", "replies"));
        match change {
            PayloadChange::Byte { at, sent, seen } => {
                format!(
                    "the payload of {replies} is not what was sent: byte {at} was {sent:#04x} and arrived as \
                     {seen:#04x}{place}"
                )
            }
            PayloadChange::Length { sent, seen } => {
                format!("the payload of {replies} is not what was sent: {sent} bytes were, and {seen} arrived{place}")
            }
        }
    };
    changes.values().map(told).collect()
}

/// How payloads differ, whatever the values.
type PayloadKind = (bool, u32);

fn kind(change: PayloadChange) -> PayloadKind {
    match change {
        PayloadChange::Byte { at, .. } => (true, at),
        PayloadChange::Length { seen, .. } => (false, seen),
    }
}

/// Reports whether hops can have seen the change: it is in the mark.
fn in_mark(change: PayloadChange) -> bool {
    let end = u32::try_from(MARK_BYTES).unwrap_or(u32::MAX);
    match change {
        PayloadChange::Byte { at, .. } => at < end,
        PayloadChange::Length { seen, .. } => seen < end,
    }
}

/// Returns the first hop of the way at which a probe had no mark, if it had one when it was sent.
fn first_unmarked(evidence: &Evidence) -> Option<Checkpoint> {
    let unmarked = |leg: Echo, at: Checkpoint| match at.station {
        Station::Hop(hop) => evidence
            .sending
            .probes
            .iter()
            .any(|sent| step(evidence, leg, at.host, hop, sent.probe).is_some_and(|step| step.unmarked)),
        Station::Send | Station::Recv | Station::Encap | Station::Decap | Station::Port(..) => false,
    };
    journey(evidence).into_iter().find(|step| unmarked(step.leg, step.checkpoint)).map(|step| step.checkpoint)
}

/// Replies that only a raw socket receives.
fn bad_checksums(evidence: &Evidence) -> Option<String> {
    let count = evidence.sending.received.values().filter(|received| received.bad_checksum).count();
    let replies = counted(count, ("reply", "replies"));
    (count > 0).then(|| {
        format!(
            "the ICMP checksum of {replies} is wrong: a raw socket, such as this one, receives them, a ping socket \
             does not"
        )
    })
}

/// Tells how probes that had no room for a mark were recognized.
fn markless(evidence: &Evidence) -> Option<String> {
    let socket = evidence.sending.socket.as_ref()?;
    (usize::from(socket.size) < MARK_BYTES).then(|| {
        format!(
            "a payload of {} bytes has no room for a mark: probes were recognized by address, id and sequence number",
            socket.size
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::Target,
        model::trace::{HostTrace, Received, SenderTrace, SocketTrace},
    };

    fn evidence(size: u16, replies: &[(Option<PayloadChange>, bool)]) -> Evidence {
        let address = "10.0.0.2".parse().expect("an address");
        let received = (0..).zip(replies).map(|(probe, (altered, bad_checksum))| {
            let reply = Received {
                time_ns: 1,
                from: address,
                id: 1,
                ttl: 64,
                times: 1,
                altered: *altered,
                bad_checksum: *bad_checksum,
            };
            (probe, reply)
        });
        let socket = Some(SocketTrace { size, ..SocketTrace::default() });
        let sending = SenderTrace { received: received.collect(), socket, ..SenderTrace::default() };
        Evidence::new(Target { name: "b".into(), address }, sending, HostTrace::default())
    }

    #[test]
    fn an_altered_payload_is_told_once_for_each_kind_of_change() {
        let byte = |seen| Some(PayloadChange::Byte { at: 8, sent: 0x10, seen });
        let told = notes(&evidence(56, &[(byte(0), false), (byte(1), false), (None, true)]));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("2 replies") && told[0].contains("byte 8 was 0x10 and arrived as 0x00"), "{told:?}");
        assert!(told[1].contains("checksum of 1 reply is wrong"), "{told:?}");
    }

    #[test]
    fn a_payload_without_room_says_how_probes_were_known() {
        assert!(notes(&evidence(15, &[]))[0].contains("by address, id and sequence number"));
        assert!(notes(&evidence(16, &[(None, false)])).is_empty());
    }
}

//! The outcome of each packet, from the reports of both ends: pure.

use std::{collections::BTreeSet, time::Duration};

use probe_ebpf::{Hop, packet::ICMP_HEADER};

use crate::peer::clock::FarClock;
use crate::{
    middlebox::timeline::{Arrival, Delivery, Endpoint, PlayedTimeline, SendTime, Timeline, TimelinePacket},
    model::trace::{Absorbed, HopTrace, HostTrace, Tail, Taken},
    traffic::batch::SentPacket,
};

/// What is known of each packet so far.
#[derive(Debug)]
pub(super) struct Deliveries {
    from: Vec<Endpoint>,
    fired: Vec<Option<SentPacket>>,
    /// By packet, with the times of the end where they arrived.
    arrived: Vec<Vec<(u64, Arrival)>>,
    /// Packets of which first fragments arrived, which are among `arrived`.
    in_fragments: BTreeSet<usize>,
    /// What else arrived of packets in fragments, by the end where it did.
    tails: Vec<(Endpoint, Tail)>,
}

/// Converts the clocks of the two ends to times since the start.
pub(super) struct SharedClock<'a> {
    /// `CLOCK_MONOTONIC` of this host in nanoseconds at the start.
    pub(super) start_ns: u64,
    /// The far end's.
    pub(super) clock: &'a FarClock,
}

impl Deliveries {
    /// Creates the record, with nothing known of any packet.
    pub(super) fn new(timeline: &Timeline) -> Self {
        let packets = timeline.packets.len();
        Self {
            from: timeline.packets.iter().map(|packet| packet.from).collect(),
            fired: vec![None; packets],
            arrived: vec![Vec::new(); packets],
            in_fragments: BTreeSet::new(),
            tails: Vec::new(),
        }
    }

    /// Returns the first arrival of a packet. Its time is counted from the start on the clock of the end where it
    /// arrived.
    pub(super) fn arrival(&self, packet: usize) -> Option<&Arrival> {
        self.arrived.get(packet)?.first().map(|(_, arrival)| arrival)
    }

    /// Records what one end sent.
    pub(super) fn sent(&mut self, side: Endpoint, packets: Vec<SentPacket>) {
        for packet in packets {
            let number = usize::from(packet.number);
            if self.from.get(number) == Some(&side) {
                self.fired[number] = Some(packet);
            }
        }
    }

    /// Records what arrived at one end.
    pub(super) fn came(&mut self, side: Endpoint, taken: Taken) {
        if taken.lost > 0 {
            tracing::warn!("{} packets arrived but could not be recorded", taken.lost);
        }
        for packet in taken.packets {
            let number = usize::from(packet.probe);
            if self.from.get(number) == Some(&side.other()) {
                self.arrived[number].push((packet.time_ns, arrival(&packet)));
                if packet.fragmented {
                    self.in_fragments.insert(number);
                }
            }
        }
        self.tails.extend(taken.tails.into_iter().map(|tail| (side, tail)));
    }

    /// Returns the result. `unsent` says why a packet that no end has sent was not sent; `traces` are the traces of
    /// this host and of the far end.
    pub(super) fn into_run(
        mut self,
        timeline: &Timeline,
        unsent: impl Fn(usize) -> SendTime,
        traces: [&HostTrace; 2],
        times: &SharedClock<'_>,
    ) -> PlayedTimeline {
        self.keep_the_whole(timeline);
        let deliveries = timeline.packets.iter().enumerate().map(|(number, packet)| Delivery {
            sent: self.sending(number, times).unwrap_or_else(|| unsent(number)),
            left: left(traces[usize::from(packet.from == Endpoint::Far)], &packet.message, number),
            arrived: std::mem::take(&mut self.arrived[number])
                .into_iter()
                .map(|(time_ns, arrival)| Arrival { after: times.since(packet.from.other(), time_ns), ..arrival })
                .collect(),
        });
        let deliveries = deliveries.collect();
        PlayedTimeline { deliveries, clock_error: times.clock.error() }
    }

    /// Removes fragmented packets whose rest did not arrive. A later fragment does not say which packet it belongs to:
    /// of packets with the same addresses and size, as many arrived as there are last fragments.
    fn keep_the_whole(&mut self, timeline: &Timeline) {
        for number in &self.in_fragments {
            let (end, size) = (self.from[*number].other(), timeline.packets[*number].size);
            let tails = &mut self.tails;
            self.arrived[*number].retain_mut(|(_, arrival)| {
                let first = arrival.size.saturating_add(ICMP_HEADER as u16);
                let of = |(side, tail): &(Endpoint, Tail)| {
                    (*side, tail.source, tail.destination) == (end, arrival.source, arrival.destination)
                        && (tail.start, tail.size) == (first, size)
                };
                tails.iter().position(of).map(|index| tails.swap_remove(index)).is_some()
            });
            self.arrived[*number].iter_mut().for_each(|(_, arrival)| arrival.size = size);
        }
    }

    /// Returns what its end reported about the sending of a packet, if it did.
    fn sending(&self, number: usize, times: &SharedClock<'_>) -> Option<SendTime> {
        let fired = self.fired[number].as_ref()?;
        Some(match &fired.errno {
            Some(errno) => SendTime::Refused(errno.clone()),
            None => SendTime::At(times.since(self.from[number], fired.sent_ns)),
        })
    }
}

impl SharedClock<'_> {
    /// Converts a time of one end's clock to the time since the start.
    fn since(&self, side: Endpoint, time_ns: u64) -> Duration {
        let here = if side == Endpoint::Near { time_ns } else { self.clock.here(time_ns) };
        Duration::from_nanos(here.saturating_sub(self.start_ns))
    }
}

fn arrival(packet: &Absorbed) -> Arrival {
    Arrival {
        id: packet.id,
        source: packet.source,
        destination: packet.destination,
        seq: packet.seq,
        code: packet.code,
        ttl: packet.ttl,
        size: packet.size,
        after: Duration::ZERO,
    }
}

/// Returns whether the sending host counted the packet out of its NIC, or `None` if that was not watched or cannot be
/// seen.
fn left(sender: &HostTrace, message: &TimelinePacket, number: usize) -> Option<bool> {
    let probe = u16::try_from(number).ok()?;
    [Hop::TcOut, Hop::Xmit].into_iter().find_map(|hop| match (sender.hop(hop), message) {
        (HopTrace::Watched { requests, .. }, TimelinePacket::Request) => Some(requests.contains_key(&probe)),
        (HopTrace::Watched { replies, .. }, TimelinePacket::Reply) => Some(replies.contains_key(&probe)),
        (HopTrace::Watched { .. }, TimelinePacket::Error(_)) | (HopTrace::Blind { .. }, _) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::timeline::{EchoId, TimedPacket};

    const FROM: [u8; 4] = [10, 0, 0, 1];
    const TO: [u8; 4] = [10, 0, 0, 2];

    fn first_fragment(probe: u16) -> Absorbed {
        Absorbed {
            probe,
            time_ns: 1,
            source: FROM.into(),
            destination: TO.into(),
            id: 7,
            seq: 1,
            code: 0,
            ttl: 63,
            size: 1472,
            fragmented: true,
        }
    }

    /// Returns how many requests of two sizes arrived, given their first fragments and these last fragments.
    fn arrived(sizes: [u16; 2], ends: &[(u16, u16)]) -> [usize; 2] {
        let packet = |size| TimedPacket {
            size,
            ..TimedPacket::new(Duration::ZERO, Endpoint::Near, TimelinePacket::Request, EchoId::Fixed(7))
        };
        let timeline = Timeline { packets: sizes.map(packet).into(), linger: Duration::ZERO };
        let mut deliveries = Deliveries::new(&timeline);
        let tail = |(start, size): &(u16, u16)| Tail {
            source: FROM.into(),
            destination: TO.into(),
            start: *start,
            size: *size,
        };
        let packets = vec![first_fragment(0), first_fragment(1)];
        deliveries.came(Endpoint::Far, Taken { packets, lost: 0, tails: ends.iter().map(tail).collect() });
        deliveries.keep_the_whole(&timeline);
        for (number, packets) in deliveries.arrived.iter().enumerate() {
            assert!(packets.iter().all(|(_, arrival)| arrival.size == sizes[number]), "the size is the whole packet's");
        }
        [deliveries.arrived[0].len(), deliveries.arrived[1].len()]
    }

    #[test]
    fn a_packet_in_fragments_has_arrived_only_with_its_end() {
        assert_eq!(arrived([1473, 4000], &[]), [0, 0]);
        assert_eq!(arrived([1473, 4000], &[(1480, 4000)]), [0, 1]);
        assert_eq!(arrived([1473, 4000], &[(2960, 4000), (1480, 1473)]), [1, 0], "the middle is missing");
        assert_eq!(arrived([4000, 4000], &[(1480, 4000)]), [1, 0]);
        assert_eq!(arrived([4000, 4000], &[(1480, 4000), (1480, 4000)]), [1, 1]);
    }
}

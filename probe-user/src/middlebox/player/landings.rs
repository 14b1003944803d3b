//! What became of each shot, put together from what both ends tell: pure.

use std::{collections::BTreeSet, time::Duration};

use probe_ebpf::{Hop, packet::ICMP_HEADER};

use super::clock::FarClock;
use crate::{
    middlebox::timeline::{Arrival, Endpoint, Landing, PlayedTimeline, SendTime, Timeline, TimelinePacket},
    model::trace::{Absorbed, HopTrace, HostTrace, Tail, Taken},
    traffic::batch::SentPacket,
};

/// What is known of each shot so far.
#[derive(Debug)]
pub(super) struct Landings {
    from: Vec<Endpoint>,
    fired: Vec<Option<SentPacket>>,
    /// By shot, with the times of the end where they arrived.
    arrived: Vec<Vec<(u64, Arrival)>>,
    /// Shots of which first fragments arrived, which are among `arrived`.
    in_fragments: BTreeSet<usize>,
    /// What else arrived of packets in fragments, by the end where it did.
    tails: Vec<(Endpoint, Tail)>,
}

/// What turns the two ends' clocks into times since the start.
pub(super) struct SharedClock<'a> {
    /// `CLOCK_MONOTONIC` of this host in nanoseconds at the start.
    pub(super) start_ns: u64,
    /// The far end's.
    pub(super) clock: &'a FarClock,
}

impl Landings {
    /// Nothing known of any shot.
    pub(super) fn new(timeline: &Timeline) -> Self {
        let shots = timeline.shots.len();
        Self {
            from: timeline.shots.iter().map(|shot| shot.from).collect(),
            fired: vec![None; shots],
            arrived: vec![Vec::new(); shots],
            in_fragments: BTreeSet::new(),
            tails: Vec::new(),
        }
    }

    /// The first packet of a shot that arrived. Its time is that of its end, since nothing.
    pub(super) fn arrival(&self, shot: usize) -> Option<&Arrival> {
        self.arrived.get(shot)?.first().map(|(_, arrival)| arrival)
    }

    /// Takes in what one end sent.
    pub(super) fn sent(&mut self, side: Endpoint, shots: Vec<SentPacket>) {
        for shot in shots {
            let number = usize::from(shot.number);
            if self.from.get(number) == Some(&side) {
                self.fired[number] = Some(shot);
            }
        }
    }

    /// Takes in what came to one end.
    pub(super) fn came(&mut self, side: Endpoint, taken: Taken) {
        if taken.lost > 0 {
            tracing::warn!("{} packets that arrived could not be noted", taken.lost);
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

    /// All of it. `unsent` says why a shot that no end has fired was not; `sights` are this host's and the far end's.
    pub(super) fn told(
        mut self,
        timeline: &Timeline,
        unsent: impl Fn(usize) -> SendTime,
        sights: [&HostTrace; 2],
        times: &SharedClock<'_>,
    ) -> PlayedTimeline {
        self.keep_the_whole(timeline);
        let landings = timeline.shots.iter().enumerate().map(|(number, shot)| Landing {
            sent: self.sending(number, times).unwrap_or_else(|| unsent(number)),
            left: left(sights[usize::from(shot.from == Endpoint::Far)], &shot.message, number),
            arrived: std::mem::take(&mut self.arrived[number])
                .into_iter()
                .map(|(time_ns, arrival)| Arrival { after: times.since(shot.from.other(), time_ns), ..arrival })
                .collect(),
        });
        let landings = landings.collect();
        PlayedTimeline { landings, clock_error: times.clock.error() }
    }

    /// Of what came in fragments only those packets arrived of which the rest came, too. Fragments do not tell their shot:
    /// of shots with the same addresses and the same size, as many arrived as there are tails.
    fn keep_the_whole(&mut self, timeline: &Timeline) {
        for number in &self.in_fragments {
            let (end, size) = (self.from[*number].other(), timeline.shots[*number].size);
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

    /// What its end told of a shot, if it told of it.
    fn sending(&self, number: usize, times: &SharedClock<'_>) -> Option<SendTime> {
        let fired = self.fired[number].as_ref()?;
        Some(match &fired.errno {
            Some(errno) => SendTime::Refused(errno.clone()),
            None => SendTime::At(times.since(self.from[number], fired.sent_ns)),
        })
    }
}

impl SharedClock<'_> {
    /// A time of one end's clock since the start.
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

/// Whether the host that sent it counted it out of its NIC; none where that was not watched, or can't be seen.
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

    /// How many of two requests with so many bytes arrived, of which first fragments and these ends came.
    fn arrived(sizes: [u16; 2], ends: &[(u16, u16)]) -> [usize; 2] {
        let shot = |size| TimedPacket {
            size,
            ..TimedPacket::new(Duration::ZERO, Endpoint::Near, TimelinePacket::Request, EchoId::Fixed(7))
        };
        let timeline = Timeline { shots: sizes.map(shot).into(), linger: Duration::ZERO };
        let mut landings = Landings::new(&timeline);
        let tail = |(start, size): &(u16, u16)| Tail {
            source: FROM.into(),
            destination: TO.into(),
            start: *start,
            size: *size,
        };
        let packets = vec![first_fragment(0), first_fragment(1)];
        landings.came(Endpoint::Far, Taken { packets, lost: 0, tails: ends.iter().map(tail).collect() });
        landings.keep_the_whole(&timeline);
        for (number, packets) in landings.arrived.iter().enumerate() {
            assert!(packets.iter().all(|(_, arrival)| arrival.size == sizes[number]), "the size is the whole packet's");
        }
        [landings.arrived[0].len(), landings.arrived[1].len()]
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

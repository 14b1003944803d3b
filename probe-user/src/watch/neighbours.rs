//! The packets of ARP and neighbour discovery of a run, in every watched namespace, and which of their questions stayed
//! unanswered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{
    NeighbourEvent,
    contract::neighbour::{ANSWERS, ASKS, ENTERS, FREED, LEAVES},
};

use super::drops::DropNames;
use crate::{
    ebpf::{drops::event_address, neighbours::NeighbourRing},
    host::link_facts,
    model::trace::{NeighbourHop, NeighbourKind, NeighbourPacket, benign::is_done_with_neighbour},
};

/// How many packets are kept; a run meets a few, and a busy link many of other hosts.
const MOST: usize = 4096;

/// All that passed so far.
pub(super) struct NeighbourLog {
    ring: NeighbourRing,
    events: Vec<NeighbourEvent>,
}

impl NeighbourLog {
    /// Creates an empty log.
    pub(super) fn new(ring: NeighbourRing) -> Self {
        Self { ring, events: Vec::new() }
    }

    /// Takes what came since the last call.
    pub(super) fn drain(&mut self) {
        while let Some(event) = self.ring.take_next() {
            if self.events.len() < MOST {
                self.events.push(event);
            }
        }
    }

    /// Returns the namespaces in which any packet was met.
    pub(super) fn met(&self) -> BTreeSet<u32> {
        self.events.iter().map(|event| event.site.netns).collect()
    }

    /// Returns the namespaces that questions for one of `addresses` reached, where these were asked in the namespaces
    /// `of` and stay open: not answered, answered by several, or with an answer that was discarded. Those that freed
    /// something or answered come first.
    pub(super) fn reached(&self, addresses: &BTreeSet<IpAddr>, of: &BTreeSet<u32>) -> Vec<u32> {
        let open = open(&self.events, addresses, of);
        // Other links of this kernel may have the same addresses: a question is identified by who asks.
        let ours = |event: &NeighbourEvent| {
            let about = event_address(event.message.about);
            event.message.kind == ASKS && open.contains(&(about, event.message.lladdr))
        };
        let mut reached: BTreeMap<u32, u8> =
            self.events.iter().filter(|event| ours(event)).map(|event| (event.site.netns, 0)).collect();
        for event in &self.events {
            let telling = event.hop == FREED || event.message.kind == ANSWERS && event.hop == LEAVES;
            if let Some(weight) = reached.get_mut(&event.site.netns).filter(|_| telling) {
                *weight = 1;
            }
        }
        let mut namespaces: Vec<u32> = reached.keys().copied().collect();
        namespaces.sort_by_key(|netns| std::cmp::Reverse(reached[netns]));
        namespaces
    }

    /// Reports whether a question for `address` was seen in a namespace that asked it.
    pub(super) fn saw_asked(&self, netns: u32, address: IpAddr) -> bool {
        let asks =
            |event: &&NeighbourEvent| event.site.netns == netns && event.message.kind == ASKS && event.hop != ENTERS;
        self.events.iter().filter(asks).any(|event| event_address(event.message.about) == address)
    }

    /// Returns the addresses for which questions came into a namespace.
    pub(super) fn asked_of(&self, netns: u32) -> BTreeSet<IpAddr> {
        let came = |event: &&NeighbourEvent| event.site.netns == netns && event.hop != LEAVES;
        let asks = self.events.iter().filter(came).filter(|event| event.message.kind == ASKS);
        asks.map(|event| event_address(event.message.about)).collect()
    }

    /// Returns the indexes of the interfaces of a namespace at which packets about `addresses` were.
    pub(super) fn interfaces(&self, netns: u32, addresses: &BTreeSet<IpAddr>) -> BTreeSet<u32> {
        let here = self.events.iter().filter(|event| event.site.netns == netns && is_about(event, addresses));
        here.map(|event| event.site.ifindex).filter(|ifindex| *ifindex != 0).collect()
    }

    /// Returns the packets about `addresses` in a namespace, in words.
    pub(super) fn told(
        &self,
        netns: u32,
        addresses: &BTreeSet<IpAddr>,
        names: &DropNames<'_>,
        mut interface: impl FnMut(u32) -> Option<String>,
    ) -> Vec<NeighbourPacket> {
        let here = self.events.iter().filter(|event| event.site.netns == netns && is_about(event, addresses));
        here.filter_map(|event| {
            let freed = event.hop == FREED;
            Some(NeighbourPacket {
                time_ns: event.site.time_ns,
                kind: if event.message.kind == ASKS { NeighbourKind::Asks } else { NeighbourKind::Answers },
                hop: match event.hop {
                    LEAVES => NeighbourHop::Out,
                    ENTERS => NeighbourHop::In,
                    FREED => NeighbourHop::Dropped,
                    _ => return None,
                },
                interface: interface(event.site.ifindex),
                layers: event.layers,
                about: event_address(event.message.about),
                asker: event_address(event.message.asker),
                lladdr: link_facts::lladdr(&event.message.lladdr),
                reason: if freed { names.reason(event.site.reason, event.site.location) } else { String::new() },
                function: if freed { names.symbols.function(event.site.location) } else { String::new() },
                stack: if freed {
                    names.callers(event.site.location, &event.site.stack, event.site.frames)
                } else {
                    Vec::new()
                },
            })
        })
        .filter(|packet| !is_done_with_neighbour(packet))
        .collect()
    }
}

/// Reports whether a packet is about one of `addresses`, or the question of one of them, and has an asker: those
/// without, and their answers, look for duplicates of an address, not for a neighbour.
fn is_about(event: &NeighbourEvent, addresses: &BTreeSet<IpAddr>) -> bool {
    let (about, asker) = (event_address(event.message.about), event_address(event.message.asker));
    !asker.is_unspecified() && (addresses.contains(&about) || addresses.contains(&asker))
}

/// A question: the address that is asked for, and the link-layer address of whoever asks.
type Question = (IpAddr, [u8; 6]);

fn open(events: &[NeighbourEvent], addresses: &BTreeSet<IpAddr>, of: &BTreeSet<u32>) -> BTreeSet<Question> {
    let asked = events.iter().filter(|event| {
        let ours = event.hop != ENTERS && of.contains(&event.site.netns);
        ours && event.message.kind == ASKS && is_about(event, addresses)
    });
    let mut open = BTreeSet::new();
    for question in asked {
        let about = question.message.about;
        let answers = || events.iter().filter(|event| event.message.kind == ANSWERS && event.message.about == about);
        let here = |event: &&NeighbourEvent| event.site.netns == question.site.netns;
        let came = answers().filter(here).any(|event| event.hop == ENTERS);
        let thrown = answers().filter(here).any(|event| event.hop == FREED);
        let told: BTreeSet<[u8; 6]> =
            answers().filter(here).map(|event| event.message.lladdr).filter(|lladdr| *lladdr != [0; 6]).collect();
        if !came || thrown || told.len() > 1 {
            open.insert((event_address(about), question.message.lladdr));
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use probe_ebpf::packet::mapped;

    use super::*;

    fn event(netns: u32, hop: u8, kind: u8, mac: u8) -> NeighbourEvent {
        let mut event = NeighbourEvent { hop, ..NeighbourEvent::zeroed() };
        event.site.netns = netns;
        event.message.about = mapped([10, 0, 0, 2]);
        event.message.asker = mapped([10, 0, 0, 1]);
        event.message.kind = kind;
        event.message.lladdr = [0, 0, 0, 0, 0, mac];
        event
    }

    #[test]
    fn a_question_is_open_until_one_answer_came_in() {
        let address = IpAddr::from([10, 0, 0, 2]);
        let addresses = BTreeSet::from([address]);
        let is_open = |events: &[NeighbourEvent]| {
            let found = super::open(events, &addresses, &BTreeSet::from([1]));
            assert!(found.is_empty() || found == BTreeSet::from([(address, [0, 0, 0, 0, 0, 9])]));
            !found.is_empty()
        };
        let asked = event(1, LEAVES, ASKS, 9);
        let heard = event(2, ENTERS, ASKS, 9);
        let answered = event(2, LEAVES, ANSWERS, 7);
        let came = event(1, ENTERS, ANSWERS, 7);
        assert!(is_open(&[asked, heard]));
        assert!(is_open(&[asked, heard, answered]));
        assert!(!is_open(&[asked, heard, answered, came]));
        assert!(is_open(&[asked, came, event(1, ENTERS, ANSWERS, 8)]));
        assert!(is_open(&[asked, came, event(1, FREED, ANSWERS, 7)]));
        // Others, who asked somewhere else.
        assert!(!is_open(&[event(3, LEAVES, ASKS, 8), heard]));
    }

    #[test]
    fn who_looks_for_a_duplicate_asks_for_no_neighbour() {
        let addresses = BTreeSet::from([IpAddr::from([10, 0, 0, 2])]);
        let mut event = event(1, LEAVES, ASKS, 9);
        event.message.asker = mapped([0, 0, 0, 0]);
        assert!(open(&[event], &addresses, &BTreeSet::from([1])).is_empty());
    }
}

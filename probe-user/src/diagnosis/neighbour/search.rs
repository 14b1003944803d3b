//! Everything that is known about one search for a neighbour: who asks for which address on which device, and what was
//! seen of it.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    diagnosis::{Evidence, advice::behind, document::Command, path::Side, resolution::NeighbourStep},
    model::{
        prefix::{is_link_local, shares},
        trace::{
            AddressHolder, AskedAgain, Drop, Finding, LinkFacts, NeighbourHop, NeighbourKind, NeighbourPacket,
            NextHopFacts, RouteChoice, RoutePurpose,
        },
    },
};

/// A search for a neighbour.
pub(super) struct Search<'a> {
    pub(super) evidence: &'a Evidence,
    /// Who asks.
    pub(super) asker: Side,
    /// For which address.
    pub(super) address: IpAddr,
    /// On which device.
    pub(super) interface: String,
    /// What its entry says, if it has one.
    pub(super) lladdr: Option<String>,
    /// The state of that entry; empty: there is none.
    pub(super) state: String,
    /// The end that the packets are for.
    pub(super) end: IpAddr,
}

impl<'a> Search<'a> {
    /// Returns the search of `asker` for the next hop towards `end`.
    pub(super) fn at(asker: Side, end: IpAddr, evidence: &'a Evidence) -> Option<Self> {
        let hop = evidence.findings(asker).find_map(|finding| match finding {
            Finding::NextHop(hop) if hop.to == end => Some((hop.next, hop.interface.clone())),
            _ => None,
        });
        let asked = own_questions(evidence, asker, end, hop.as_ref());
        let marked = marked(evidence, asker, end).or_else(|| asked_by_mark(evidence, asker, end, hop.as_ref()));
        let (address, mut interface) = marked.or(asked).or(hop)?;
        // On which link such an address is meant is not for routing to choose.
        if is_link_local(address) && address == end && asker == Side::Local {
            interface.clone_from(&evidence.local.host.interface);
        }
        let entry = evidence.findings(asker).find_map(|finding| match finding {
            Finding::Neighbour { address: of, interface: at, state, lladdr } if *of == address && *at == interface => {
                Some((state.clone(), lladdr.clone()))
            }
            _ => None,
        });
        let (state, lladdr) = entry.unwrap_or_default();
        Some(Self { evidence, asker, address, interface, lladdr, state, end })
    }

    /// Returns the search for `address` by somebody who is not watched, seen from those that it reaches. `asker` is the
    /// end whose packets it carries.
    pub(super) fn from_outside(asker: Side, address: IpAddr, evidence: &'a Evidence) -> Self {
        let (interface, state) = (String::new(), String::new());
        Self { evidence, asker, address, interface, lladdr: None, state, end: address }
    }

    /// Returns the sides but the one that asks.
    pub(super) fn others(&self) -> impl Iterator<Item = Side> + use<'a> {
        let asker = self.asker;
        self.evidence.sides().filter(move |side| *side != asker)
    }

    /// Returns the packets of one kind at one point of a side, about the address that is asked for.
    pub(super) fn packets(
        &self,
        side: Side,
        kind: NeighbourKind,
        hop: NeighbourHop,
    ) -> impl Iterator<Item = &'a NeighbourPacket> + use<'a> {
        let (address, askers) = (self.address, self.askers());
        let ours = move |packet: &&NeighbourPacket| askers.is_empty() || askers.contains(&packet.asker);
        let seen = self.evidence.neighbour_packets(side).iter();
        seen.filter(move |packet| packet.about == address && packet.kind == kind && packet.hop == hop).filter(ours)
    }

    /// Returns the addresses in whose name the asker asked; empty if it was not seen asking. Others on another link may
    /// ask for the same address and be answered.
    fn askers(&self) -> Vec<IpAddr> {
        let known = !self.interface.is_empty();
        let packets = self.evidence.neighbour_packets(self.asker).iter().filter(|_| known);
        let asks = packets.filter(|packet| {
            packet.about == self.address && packet.kind == NeighbourKind::Asks && packet.hop != NeighbourHop::In
        });
        asks.map(|packet| packet.asker).collect()
    }

    /// Returns how many there are.
    pub(super) fn count(&self, side: Side, kind: NeighbourKind, hop: NeighbourHop) -> usize {
        self.packets(side, kind, hop).count()
    }

    /// Returns the devices of `side` at which questions came in, each with how many.
    pub(super) fn heard(&self, side: Side) -> BTreeMap<&'a str, usize> {
        let mut heard = BTreeMap::new();
        for packet in self.packets(side, NeighbourKind::Asks, NeighbourHop::In) {
            *heard.entry(packet.interface.as_deref().unwrap_or_default()).or_default() += 1;
        }
        heard
    }

    /// Returns the devices of `side` itself that have the address.
    pub(super) fn holders(&self, side: Side) -> impl Iterator<Item = &'a AddressHolder> + use<'a> {
        self.evidence.holders(side, self.address)
    }

    /// Returns the namespaces that have the address but that no packet crossed, each once.
    pub(super) fn elsewhere(&self) -> Vec<&'a AddressHolder> {
        let mut found: Vec<&AddressHolder> = Vec::new();
        let known = |inode: u64| self.evidence.sides().any(|side| inode_of(self.evidence, side) == inode);
        for side in self.evidence.sides() {
            for finding in self.evidence.findings(side) {
                let Finding::Holder(holder) = finding else { continue };
                let other = holder.netns.is_some() && holder.address == Some(self.address) && !known(holder.inode);
                if other && !found.iter().any(|old| old.inode == holder.inode && old.interface == holder.interface) {
                    found.push(holder);
                }
            }
        }
        found
    }

    /// Returns what is known of a device of `side`.
    pub(super) fn device(&self, side: Side, interface: &str) -> Option<&'a LinkFacts> {
        device(self.evidence, side, interface)
    }

    /// Returns the route of `side` towards the end that packets are for.
    pub(super) fn route(&self, side: Side) -> Option<&'a NextHopFacts> {
        let end = self.end;
        self.evidence.findings(side).find_map(|finding| match finding {
            Finding::NextHop(hop) if hop.to == end => Some(hop),
            _ => None,
        })
    }

    /// Returns the asker's own address from which it asks, with its prefix.
    pub(super) fn own(&self) -> Option<&'a AddressHolder> {
        let mine = self.evidence.findings(self.asker).filter_map(|finding| match finding {
            Finding::Holder(holder) if holder.netns.is_none() => Some(holder),
            _ => None,
        });
        let mut mine = mine.filter(|holder| holder.interface == self.interface);
        let same = self.address.is_ipv4();
        mine.find(|holder| holder.address.is_some_and(|own| own.is_ipv4() == same && own != self.address))
    }

    /// Returns another device of the asker whose network has the address that is asked for, with the asker's own address there.
    pub(super) fn on_other_link(&self) -> Option<(&'a str, String)> {
        let here = self.own().is_some_and(|own| own.address.is_some_and(|mine| shares(mine, self.address, own.prefix)));
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        let mine = self.evidence.findings(self.asker).filter_map(|finding| match finding {
            Finding::Holder(holder) if holder.netns.is_none() && holder.interface != self.interface => Some(holder),
            _ => None,
        });
        let near = |holder: &&AddressHolder| {
            (1..whole).contains(&holder.prefix)
                && holder.address.is_some_and(|own| {
                    own.is_ipv4() == self.address.is_ipv4()
                        && own != self.address
                        && shares(own, self.address, holder.prefix)
                })
        };
        let found = mine.filter(|_| !here).find(near)?;
        Some((&found.interface, format!("{}/{}", found.address?, found.prefix)))
    }

    /// Returns what answered when the asker asked once more.
    pub(super) fn asked_again(&self) -> Option<&'a AskedAgain> {
        self.evidence.findings(self.asker).find_map(|finding| match finding {
            Finding::AskedAgain(again) if again.address == self.address => Some(again),
            _ => None,
        })
    }

    /// Returns a setting of a device of `side` as the kernel applies it: the larger of its own and that of all devices.
    pub(super) fn setting(&self, side: Side, interface: &str, name: &str) -> Option<(String, u32)> {
        let family = if self.address.is_ipv4() { "ipv4" } else { "ipv6" };
        let paths = [format!("net/{family}/conf/all/{name}"), format!("net/{family}/conf/{interface}/{name}")];
        let values = self.evidence.findings(side).filter_map(|finding| match finding {
            Finding::Setting { path, value } if paths.contains(path) => {
                Some((path.clone(), value.trim().parse::<u32>().ok()?))
            }
            _ => None,
        });
        values.max_by_key(|(_, value)| *value)
    }

    /// Returns a command to be typed on a side.
    pub(super) fn command(&self, side: Side, command: impl Into<String>) -> Command {
        in_place(self.evidence, side, &command.into())
    }

    /// Returns a command to be typed in a namespace that was only looked into.
    pub(super) fn command_in(holder: &AddressHolder, command: &str) -> Command {
        let enter = holder.enter.as_deref().unwrap_or_default();
        Command { on: Some(Side::Local), command: format!("{enter} {command}").trim_start().to_owned() }
    }

    /// Returns every point at which packets about the address were, in the order of time.
    pub(super) fn steps(&self) -> Vec<NeighbourStep> {
        let sides = std::iter::once(self.asker).chain(self.others());
        let mut steps: Vec<(u8, u64, NeighbourStep)> = Vec::new();
        for side in sides {
            for packet in self.evidence.neighbour_packets(side).iter().filter(|packet| packet.about == self.address) {
                let place = self.evidence.name(side);
                let same = |step: &&mut (u8, u64, NeighbourStep)| {
                    let step = &step.2;
                    step.place == place
                        && step.interface == packet.interface
                        && (step.kind, step.hop) == (packet.kind, packet.hop)
                };
                match steps.iter_mut().find(same) {
                    Some(step) => step.2.packets += 1,
                    None => {
                        let rank = rank(packet, side == self.asker);
                        let (interface, kind, hop) = (packet.interface.clone(), packet.kind, packet.hop);
                        let step = NeighbourStep { place, interface, kind, hop, packets: 1 };
                        steps.push((rank, packet.time_ns, step));
                    }
                }
            }
        }
        steps.sort_by_key(|(rank, time, _)| (*rank, *time));
        steps.into_iter().map(|(.., step)| step).collect()
    }
}

/// Returns the part of the exchange that a packet belongs to, as the clocks of two hosts differ: the question on its
/// way, and the answer.
fn rank(packet: &NeighbourPacket, of_asker: bool) -> u8 {
    match (packet.kind, of_asker) {
        (NeighbourKind::Asks, true) => 0,
        (NeighbourKind::Asks, false) => 1,
        (NeighbourKind::Answers, false) => 2,
        (NeighbourKind::Answers, true) => 3,
    }
}

/// Returns the next hop of a route for packets to `end`, and its device; `None` if it is for others, or ends them.
fn leads_to(choice: &RouteChoice, end: IpAddr) -> Option<(IpAddr, String)> {
    (choice.to == end && choice.ends.is_none()).then_some(())?;
    Some((choice.gateway.unwrap_or(end), choice.interface.clone()?))
}

/// Returns the gateway to which the mark of packets led that were freed while they waited for it, and its device.
fn marked(evidence: &Evidence, asker: Side, end: IpAddr) -> Option<(IpAddr, String)> {
    let waited = |drop: &&Drop| drop.reason.starts_with("NEIGH_") && drop.frame.mark != 0 && drop.destination == end;
    let mark = evidence.drops(asker).iter().find(waited)?.frame.mark;
    evidence.findings(asker).find_map(|finding| match finding {
        Finding::Routing(choice) if choice.mark == mark => leads_to(choice, end),
        _ => None,
    })
}

/// Returns the gateway to which a mark leads and which was asked for, where the next hop of unmarked packets was not: packets
/// that wait for a neighbour do not tell their mark before they are freed.
fn asked_by_mark(
    evidence: &Evidence,
    asker: Side,
    end: IpAddr,
    hop: Option<&(IpAddr, String)>,
) -> Option<(IpAddr, String)> {
    let asked = |address: IpAddr| {
        evidence.neighbour_packets(asker).iter().any(|packet| {
            packet.about == address && packet.kind == NeighbourKind::Asks && packet.hop != NeighbourHop::In
        })
    };
    // One that has an entry is only asked whether that still holds, and nothing waits for it.
    let found = |next: &IpAddr| {
        evidence
            .findings(asker)
            .any(|finding| matches!(finding, Finding::Neighbour { address, lladdr: Some(_), .. } if address == next))
    };
    if hop.is_some_and(|(next, _)| asked(*next) && !found(next)) {
        return None;
    }
    evidence.findings(asker).find_map(|finding| match finding {
        Finding::Routing(choice) if choice.purpose == RoutePurpose::Marked => {
            leads_to(choice, end).filter(|(next, _)| asked(*next))
        }
        _ => None,
    })
}

/// Returns what `asker` asked for and on which device, if it asked: the next hop of the route if it is among them.
fn own_questions(
    evidence: &Evidence,
    asker: Side,
    end: IpAddr,
    hop: Option<&(IpAddr, String)>,
) -> Option<(IpAddr, String)> {
    let mut asked: BTreeMap<(IpAddr, String), usize> = BTreeMap::new();
    for packet in evidence.neighbour_packets(asker) {
        let goes = packet.kind == NeighbourKind::Asks && packet.hop != NeighbourHop::In;
        if let Some(interface) = packet.interface.as_ref().filter(|_| goes) {
            *asked.entry((packet.about, interface.clone())).or_default() += 1;
        }
    }
    if let Some((next, interface)) = hop {
        // What leaves by a bridge leaves by its port too.
        let mut of_next: Vec<(IpAddr, String)> = asked.keys().filter(|(about, _)| about == next).cloned().collect();
        of_next.sort_by_key(|(_, at)| at != interface);
        if let Some(question) = of_next.into_iter().next() {
            return Some(question);
        }
        // A socket that is bound to a device, or a mark, has another next hop than a plain look-up says; what others on
        // this host ask for does not count.
        let target = evidence.target.address;
        return asked.into_keys().find(|(about, _)| *about == target && asker == Side::Local);
    }
    // Where a NAT sends them elsewhere, what is asked for on the way of the pair's own addresses is not their next hop.
    let rewritten = end != evidence.target.address && Some(end) != evidence.local.host.address;
    asked.retain(|(about, _), _| !rewritten || *about == end);
    asked.into_iter().max_by_key(|(_, count)| *count).map(|(question, _)| question)
}

/// Returns what is known of a device of `side`.
pub(super) fn device<'a>(evidence: &'a Evidence, side: Side, interface: &str) -> Option<&'a LinkFacts> {
    evidence.devices(side).find(|device| device.interface == interface)
}

/// Returns the inode of the network namespace of `side`; 0: not known.
pub(super) fn inode_of(evidence: &Evidence, side: Side) -> u64 {
    evidence.place(side).map_or_else(|| evidence.host(side).host.netns, |place| place.netns)
}

/// Returns a command for a side: a place in between is entered from the host whose kernel has it.
pub(super) fn in_place(evidence: &Evidence, side: Side, command: &str) -> Command {
    let (on, enter) = evidence.entered(side);
    Command { on: Some(on), command: behind(enter, command) }
}

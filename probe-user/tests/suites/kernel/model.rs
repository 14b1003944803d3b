//! Random rules and random packets: the kernel must decide as a model does that asks each rule in turn, and note the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_ebpf::{
    Family, Kind, Rule,
    filter::{ASKS_DESTINATION, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, DRY_RUN},
};
use probe_user::{
    clock::monotonic_ns,
    filter::rules::{RuleAction, RulePosition, RuleSet},
    model::prefix::Prefix,
    traffic::{EchoMessage, Frame},
};

use super::{
    loaded::{ALL_HOPS, Action, Loaded},
    random::{Random, seeded},
    ready::ready,
};

/// How many packets: more with `PROBE_MODEL_PACKETS`, a million of which take a minute.
fn packets() -> usize {
    std::env::var("PROBE_MODEL_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(30_000)
}

/// How many sets of rules they are spread over.
const SETS: usize = 30;

/// Everything comes from few values, so that rules match, and match the same, often.
const FEW: usize = 12;
const V4: [&str; 4] = ["10.0.0.1", "10.0.0.200", "10.1.0.1", "192.0.2.7"];
const V6: [&str; 4] = ["fd00::1", "fd00::200", "fd00:1::1", "2001:db8::7"];

#[derive(Clone, Debug)]
struct Packet {
    kind: Kind,
    id: u16,
    seq: u16,
    payload: u16,
    source: IpAddr,
    destination: IpAddr,
}

impl Packet {
    fn random(random: &mut Random) -> Self {
        let kind = *random.pick(&Kind::ALL);
        let mut address = || *random.pick(if kind.family == Family::V4 { &V4 } else { &V6 });
        let (source, destination) = (address(), address());
        Self {
            kind,
            id: random.below(FEW) as u16,
            seq: random.below(FEW) as u16,
            payload: random.below(FEW) as u16 * 8,
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let payload = [0; 8 * FEW];
        let message = EchoMessage::new(self.kind, self.id, self.seq, &payload[..usize::from(self.payload)]);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Frame::v4(source, destination, &message).bytes(),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Frame::v6(source, destination, &message).bytes(),
            ends => panic!("{ends:?} are of two families"),
        }
    }
}

/// What a rule has done, as the model counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    chosen: u64,
    passed: u64,
}

/// A rule in words of its own, not the kernel's.
#[derive(Debug)]
struct Modelled {
    kinds: Vec<Kind>,
    ids: (u16, u16),
    seqs: Option<(u16, u16)>,
    payloads: Option<(u16, u16)>,
    source: Option<Prefix>,
    destination: Option<Prefix>,
    action: RuleAction,
    dry_run: bool,
    ended: bool,
    done: Done,
}

impl Modelled {
    fn random(random: &mut Random) -> Self {
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| !random.one_in(3)).collect();
        if kinds.is_empty() {
            kinds.push(*random.pick(&Kind::ALL));
        }
        let family = kinds[0].family;
        let (source, destination) = (prefix(random, family), prefix(random, family));
        if source.or(destination).is_some() {
            kinds.retain(|kind| kind.family == family);
        }
        let count = 1 + random.below(50) as u64;
        let actions = [
            RuleAction::Drop,
            RuleAction::Drop,
            RuleAction::Pass,
            RuleAction::Every(1 + count % 5),
            RuleAction::First(count),
            RuleAction::After(count),
        ];
        let action = *random.pick(&actions);
        Self {
            kinds,
            ids: span(random, 1),
            seqs: random.one_in(3).then(|| span(random, 1)),
            payloads: random.one_in(3).then(|| span(random, 8)),
            source,
            destination,
            action,
            dry_run: random.one_in(4) && action != RuleAction::Pass,
            ended: random.one_in(6),
            done: Done::default(),
        }
    }

    fn rule(&self, random: &mut Random) -> Rule {
        let asked = |asks: bool, bit: u32| if asks { bit } else { 0 };
        let future = if random.one_in(3) { monotonic_ns() + 3_600_000_000_000 } else { 0 };
        let mut rule = Rule {
            deadline_ns: if self.ended { 1 } else { future },
            kinds: self.kinds.iter().fold(0, |bits, kind| bits | 1 << kind.index()),
            id_first: self.ids.0,
            id_last: self.ids.1,
            asks: asked(self.seqs.is_some(), ASKS_SEQ)
                | asked(self.payloads.is_some(), ASKS_PAYLOAD)
                | asked(self.source.is_some(), ASKS_SOURCE)
                | asked(self.destination.is_some(), ASKS_DESTINATION)
                | asked(self.dry_run, DRY_RUN),
            source: self.source.map(|prefix| prefix.mask()).unwrap_or_default(),
            destination: self.destination.map(|prefix| prefix.mask()).unwrap_or_default(),
            ..Rule::default()
        };
        (rule.seq_first, rule.seq_last) = self.seqs.unwrap_or_default();
        (rule.payload_first, rule.payload_last) = self.payloads.unwrap_or_default();
        self.action.write(&mut rule);
        rule
    }

    fn matches(&self, packet: &Packet) -> bool {
        let within = |span: (u16, u16), value: u16| span.0 <= value && value <= span.1;
        !self.ended
            && self.kinds.contains(&packet.kind)
            && within(self.ids, packet.id)
            && self.seqs.is_none_or(|span| within(span, packet.seq))
            && self.payloads.is_none_or(|span| within(span, packet.payload))
            && self.source.is_none_or(|prefix| holds(prefix, packet.source))
            && self.destination.is_none_or(|prefix| holds(prefix, packet.destination))
    }

    /// Decides on a packet that matches: whether it would be dropped.
    fn chooses(&mut self) -> bool {
        let before = self.done.chosen + self.done.passed;
        let chosen = match self.action {
            RuleAction::Drop => true,
            RuleAction::Pass => false,
            RuleAction::Every(count) => (before + 1).is_multiple_of(count),
            RuleAction::First(count) => before < count,
            RuleAction::After(count) => before >= count,
            RuleAction::Chance(_) | RuleAction::Rate(_) => panic!("chance and time are tested elsewhere"),
        };
        *if chosen { &mut self.done.chosen } else { &mut self.done.passed } += 1;
        chosen
    }
}

fn span(random: &mut Random, unit: u16) -> (u16, u16) {
    let (one, other) = (random.below(FEW) as u16 * unit, random.below(FEW) as u16 * unit);
    (one.min(other), one.max(other))
}

fn prefix(random: &mut Random, family: Family) -> Option<Prefix> {
    const LENGTHS: [(u8, u8); 5] = [(0, 0), (8, 16), (16, 32), (24, 64), (32, 128)];
    let (v4, v6) = *random.pick(&LENGTHS);
    let (addresses, length) = if family == Family::V4 { (&V4, v4) } else { (&V6, v6) };
    let address: IpAddr = random.pick(addresses).parse().expect("an address");
    random.one_in(3).then(|| Prefix { address: cut(address, length), length })
}

fn cut(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

fn holds(prefix: Prefix, address: IpAddr) -> bool {
    cut(address, prefix.length) == prefix.address
}

/// What becomes of `packet`: the first real rule that matches decides. Of those that only count, the first that matches
/// before it counts.
fn is_dropped(rules: &mut [Modelled], packet: &Packet) -> bool {
    let mut counted = false;
    for rule in rules {
        if (rule.dry_run && counted) || !rule.matches(packet) {
            continue;
        }
        let chosen = rule.chooses();
        if !rule.dry_run {
            return chosen;
        }
        counted = true;
    }
    false
}

#[test]
fn the_kernel_decides_on_random_packets_as_the_model_does() {
    if !ready("the_kernel_decides_on_random_packets_as_the_model_does") {
        return;
    }
    let (seed, mut random) = seeded();
    let (mut dropped, each) = (0, packets() / SETS);
    for round in 0..SETS {
        let hop = ALL_HOPS[round % ALL_HOPS.len()];
        let (mut rules, mut set) = (Vec::new(), RuleSet::default());
        for _ in 0..1 + random.below(FEW) {
            let modelled = Modelled::random(&mut random);
            let rule = modelled.rule(&mut random);
            let at = random.below(rules.len() + 1);
            let order: Vec<u32> = set.in_order().iter().map(|(_, rule)| rule.number).collect();
            let spot = order.get(at).map_or(RulePosition::Last, |number| RulePosition::Before(*number));
            set.insert(rule, spot, 0).expect("there is room");
            rules.insert(at, modelled);
        }
        let (loaded, kernel) = Loaded::filtering(hop, &set);
        for number in 0..each {
            let packet = Packet::random(&mut random);
            let expected = is_dropped(&mut rules, &packet);
            dropped += usize::from(expected);
            let action = loaded.run(hop, &packet.bytes());
            let about = || format!("PROBE_SEED={seed}, set {round}, packet {number}: {packet:?}\n{rules:#?}");
            assert_eq!(action == Action::Drop, expected, "{}", about());
        }
        let noted = set.in_order().into_iter().map(|(slot, _)| kernel.stats(slot).expect("it can be read"));
        let noted: Vec<Done> = noted.map(|stats| Done { chosen: stats.chosen.packets, passed: stats.passed }).collect();
        let expected: Vec<Done> = rules.iter().map(|rule| rule.done).collect();
        assert_eq!(noted, expected, "PROBE_SEED={seed}, set {round}: {rules:#?}");
    }
    assert!(dropped > packets() / 10 && dropped < packets() * 9 / 10, "{dropped} dropped: too one-sided");
}

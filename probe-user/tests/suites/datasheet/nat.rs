//! NATs are recognized by what they do with addresses and ids, and do not disturb the other facts.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use probe_user::middlebox::{
    datasheet::{
        Effort, Fact, FactValue, Level,
        finding::{IdPolicy, Rewriting},
    },
    timeline::Endpoint,
};

use super::{
    boxes::{Firewall, Packet, Through},
    link::{Dice, Link},
    truth::assert_right,
};

/// A NAT: what it does with ids, and what it remembers.
struct Masquerade {
    outer: IpAddr,
    choice: Choice,
    out: HashMap<(IpAddr, u16), u16>,
    back: HashMap<u16, (IpAddr, u16)>,
    dice: Dice,
}

/// Which outer id a NAT chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    KeepWhereFree,
    Overload,
    Random,
    Range(u16, u16),
}

impl Masquerade {
    fn new(choice: Choice) -> Self {
        let outer = IpAddr::from([203, 0, 113, 1]);
        Self { outer, choice, out: HashMap::new(), back: HashMap::new(), dice: Dice(99) }
    }

    fn outer_id(&mut self, inner: (IpAddr, u16)) -> u16 {
        if let Some(id) = self.out.get(&inner) {
            return *id;
        }
        let (low, high) = if let Choice::Range(low, high) = self.choice { (low, high) } else { (0, u16::MAX) };
        let mut any = || low + (self.dice.roll() * (f64::from(high - low) + 1.0)) as u16;
        let mut id = match self.choice {
            Choice::KeepWhereFree | Choice::Overload => inner.1,
            _ => any(),
        };
        while self.choice != Choice::Overload && self.back.contains_key(&id) {
            id = any();
        }
        self.out.insert(inner, id);
        self.back.insert(id, inner);
        id
    }
}

impl Through for Masquerade {
    fn pass(&mut self, _now: Duration, packet: &mut Packet) -> bool {
        if packet.from == Endpoint::Near {
            packet.id = self.outer_id((packet.source, packet.id));
            packet.source = self.outer;
            return true;
        }
        if packet.destination != self.outer {
            return false;
        }
        let Some((address, id)) = self.back.get(&packet.id) else { return false };
        (packet.destination, packet.id) = (*address, *id);
        true
    }
}

/// A masquerading router: conntrack, and behind it the NAT.
fn found(choice: Choice) -> IdPolicy {
    let firewall = Firewall::conntrack(9.0);
    let mut link = Link::through(vec![Box::new(firewall.clone()), Box::new(Masquerade::new(choice))]);
    let sheet = link.characterise(Effort::of(Level::Ordinary));
    // Behind a NAT the far end can't send to the near end's second address.
    let truth: Vec<_> = firewall.truth().into_iter().filter(|(fact, _)| *fact != Fact::Destination).collect();
    assert_right(&sheet, &truth);
    assert_eq!(sheet.answer(Fact::Destination), Some(&FactValue::NotTested));
    match sheet.answer(Fact::Nat) {
        Some(FactValue::Nat { address: Rewriting::Rewritten, id }) => *id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_policy_is_told_from_the_others() {
    assert_eq!(found(Choice::KeepWhereFree), IdPolicy::KeptWhereFree);
    assert_eq!(found(Choice::Overload), IdPolicy::Overloaded);
    assert_eq!(found(Choice::Random), IdPolicy::Random);
    let IdPolicy::Range { low, high } = found(Choice::Range(20_000, 24_095)) else { panic!("it is a range") };
    assert!(20_000 <= low && low < high && high <= 24_095, "{low} {high}");
}

#[test]
fn without_a_nat_all_is_kept() {
    let sheet = Link::through(vec![Box::new(Firewall::conntrack(9.0))]).characterise(Effort::of(Level::Ordinary));
    let kept = FactValue::Nat { address: Rewriting::Kept, id: IdPolicy::Kept };
    assert_eq!(sheet.answer(Fact::Nat), Some(&kept));
}

#[test]
fn a_special_id_that_does_not_pass_is_noted() {
    struct NoZero;
    impl Through for NoZero {
        fn pass(&mut self, _now: Duration, packet: &mut Packet) -> bool {
            packet.id != 0
        }
    }
    let mut link = Link::through(vec![Box::new(NoZero), Box::new(Firewall::conntrack(9.0))]);
    let sheet = link.characterise(Effort::of(Level::Ordinary));
    let note = sheet.finding(Fact::Nat).and_then(|finding| finding.note.clone());
    assert!(note.is_some_and(|note| note.contains("requests with id 0 do not pass")), "{sheet:#?}");
}

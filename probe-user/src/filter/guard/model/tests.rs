//! Tests of the model as well-known guards, and of what holds of every guard.

use probe_ebpf::packet::mapped;
use proptest::prelude::*;

use super::*;
use crate::filter::guard::{GuardOptions, Protect, Refresh, StateKey};

const SECOND: u64 = 1_000_000_000;
const SECRET: [u64; 5] = [0x1234_5678_9abc_def1, 3, 0x0fed_cba9_8765_4321, 7, 11];

fn model(change: impl FnOnce(&mut GuardOptions)) -> GuardModel {
    let mut options = GuardOptions::default();
    change(&mut options);
    GuardModel::new(options.config(SECRET).expect("they agree"))
}

fn host(number: u8) -> [u8; 16] {
    mapped([10, 0, 0, number])
}

/// Builds a request of host 1 to host 2 that leaves, or the reply to it that enters.
fn packet(echo: Echo, id: u16) -> ModelPacket {
    let (direction, source, destination) = match echo {
        Echo::Request => (Direction::Out, host(1), host(2)),
        Echo::Reply => (Direction::In, host(2), host(1)),
    };
    ModelPacket { direction, kind: Kind { family: Family::V4, echo }, code: 0, id, seq: 1, source, destination }
}

impl GuardModel {
    fn request(&mut self, seconds: u64, id: u16) {
        assert_eq!(self.see(seconds * SECOND, &packet(Echo::Request, id)), GuardVerdict::Pass);
    }

    fn passes(&mut self, seconds: u64, id: u16) -> bool {
        self.see(seconds * SECOND, &packet(Echo::Reply, id)) == GuardVerdict::Pass
    }
}

#[test]
fn a_security_group_is_what_it_is_by_default() {
    let mut model = model(|_| {});
    assert!(!model.passes(1, 7));
    model.request(1, 7);
    assert!(model.passes(2, 7) && model.passes(61, 7), "each packet begins the minute anew");
    assert!(!model.passes(122, 7));
    assert_eq!((model.count(GuardCount::NoState), model.count(GuardCount::Expired)), (1, 1));
}

#[test]
fn linux_pf_and_ovs_can_be_imitated() {
    let mut linux = model(|options| options.timeout = std::time::Duration::from_secs(30));
    linux.request(1, 7);
    assert!(linux.passes(30, 7) && linux.passes(59, 7) && !linux.passes(90, 7));
    let mut pf = model(|options| {
        options.timeout = std::time::Duration::from_secs(20);
        options.timeout_after_reply = Some(std::time::Duration::from_secs(10));
    });
    pf.request(1, 7);
    assert!(pf.passes(20, 7), "20 s to the first reply");
    assert!(pf.passes(29, 7) && !pf.passes(40, 7), "10 s from each packet on");
    let mut no_refresh = model(|options| options.refresh = Refresh::NOTHING);
    no_refresh.request(1, 7);
    no_refresh.request(50, 7);
    assert!(no_refresh.passes(60, 7) && !no_refresh.passes(62, 7));
}

#[test]
fn what_enters_and_what_leaves_are_kept_apart() {
    let mut both = model(|options| options.protect = Protect::Both);
    let turned = |echo| ModelPacket {
        direction: if echo == Echo::Request { Direction::In } else { Direction::Out },
        ..packet(echo, 7)
    };
    both.request(1, 7);
    assert_eq!(both.see(2 * SECOND, &turned(Echo::Reply)), GuardVerdict::Drop, "that request left");
    both.see(3 * SECOND, &turned(Echo::Request));
    assert_eq!(both.see(4 * SECOND, &turned(Echo::Reply)), GuardVerdict::Pass);
    assert_eq!(both.count(GuardCount::Made), 2);
}

/// Sends any number of another host's requests.
fn flood(model: &mut GuardModel, now_ns: u64, hosts: u8, ids: u16) {
    for number in 0..hosts {
        for id in 0..ids {
            let request = ModelPacket { source: host(100 + number), ..packet(Echo::Request, id) };
            model.see(now_ns, &request);
        }
    }
}

#[test]
fn a_flood_takes_half_the_room_and_no_state_of_anybody_else() {
    let mut model = model(|options| options.states = 1024);
    for id in 0..50 {
        model.request(1, id);
    }
    flood(&mut model, 2 * SECOND, 1, 10_000);
    assert!(model.states(2 * SECOND) <= 512 + 50);
    for id in 0..50 {
        assert!(model.passes(3, id), "{id}");
    }
    // Another host still finds room.
    for id in 1_000..1_050 {
        model.request(4, id);
        assert!(model.passes(4, id), "{id}");
    }
    // Of many askers, those that came first are served; nobody loses what he has.
    flood(&mut model, 5 * SECOND, 100, 1_000);
    assert!(model.count(GuardCount::Refused) > 0);
    for id in (0..50).chain(1_000..1_050) {
        assert!(model.passes(6, id), "{id}");
    }
}

proptest! {
    #[test]
    fn states_are_neither_lost_nor_invented(
        steps in prop::collection::vec((0..3_u64, 0..40_u16, any::<bool>(), 1..4_u8), 1..400),
        limit in 0..3_u32,
    ) {
        let mut model = model(|options| {
            options.states = 32;
            options.timeout = std::time::Duration::from_secs(10);
            options.replies = std::num::NonZeroU32::new(limit);
            options.key = StateKey::ADDRESSES_AND_ID;
        });
        let (mut now, mut asked, mut passed) = (SECOND, 0_u64, 0_u64);
        for (seconds, id, asks, asker) in steps {
            now += seconds * SECOND;
            let echo = if asks { Echo::Request } else { Echo::Reply };
            let mut packet = packet(echo, id);
            if asks { packet.source = host(asker) } else { packet.destination = host(asker) }
            asked += u64::from(asks);
            passed += u64::from(model.see(now, &packet) == GuardVerdict::Pass && !asks);
            let gone = model.count(GuardCount::Evicted);
            prop_assert!(model.states(now) as u64 + gone <= model.count(GuardCount::Made));
            prop_assert!(model.states(now) <= 32);
        }
        prop_assert_eq!(passed, model.count(GuardCount::Passed));
        prop_assert_eq!(asked, model.count(GuardCount::Asked));
        if limit > 0 {
            prop_assert!(passed <= asked * u64::from(limit));
        }
    }

    #[test]
    fn nobody_s_flood_ends_a_state_of_somebody_else(
        mine in prop::collection::btree_set(any::<u16>(), 1..20),
        others in prop::collection::vec((2..6_u8, any::<u16>(), any::<bool>()), 0..2_000),
    ) {
        let mut model = model(|options| options.states = 64);
        for id in &mine {
            model.request(1, *id);
        }
        let kept: Vec<u16> = mine.iter().copied().filter(|id| model.clone().passes(1, *id)).collect();
        for (asker, id, asks) in others {
            let other = host(100 + asker);
            let packet = if asks {
                ModelPacket { source: other, ..packet(Echo::Request, id) }
            } else {
                ModelPacket { destination: other, ..packet(Echo::Reply, id) }
            };
            model.see(2 * SECOND, &packet);
        }
        for id in kept {
            prop_assert!(model.passes(3, id));
        }
    }
}

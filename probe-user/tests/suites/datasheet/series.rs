//! Two boxes in series are noticed where that shows; and what a session says of boxes that cannot be characterized.

use std::time::Duration;

use probe_user::{
    middlebox::{
        datasheet::{Datasheet, Effort, Fact, FactValue, Level, Session},
        timeline::Endpoint,
    },
    model::verdict::Confidence,
};

use super::{
    boxes::{Firewall, Kind, Packet, Through},
    link::{Link, ends},
    truth::assert_not_wrong,
};

fn through(boxes: Vec<Box<dyn Through>>) -> Datasheet {
    Link::through(boxes).characterise(Effort::of(Level::Ordinary))
}

#[track_caller]
fn assert_two(sheet: &Datasheet) {
    assert!(sheet.notes.iter().any(|note| note.contains("two boxes in series")), "{sheet:#?}");
}

#[test]
fn a_second_limit_shows_behind_the_first() {
    let lazy = Firewall { refreshed_by_reply: false, refreshed_by_request: false, ..Firewall::conntrack(30.0) };
    for boxes in [[Firewall::conntrack(20.0), lazy.clone()], [lazy, Firewall::conntrack(20.0)]] {
        let sheet = through(boxes.map(|one| Box::new(one) as Box<dyn Through>).into());
        let (low, high) = sheet.answer(Fact::Timeout).and_then(FactValue::between).expect("it ends");
        assert!(low <= 20.0 && 20.0 <= high, "the shorter one counts: {low} {high}");
        for fact in [Fact::RefreshByRequest, Fact::RefreshByReply] {
            let Some(FactValue::Until { low, high }) = sheet.answer(fact) else { panic!("{:#?}", sheet.finding(fact)) };
            assert!(*low <= 30.0 && 30.0 <= *high, "{fact}: {low} {high}");
        }
        assert_two(&sheet);
    }
}

/// Two firewalls side by side, one for what each end asks.
struct ByDirection {
    near_asks: Firewall,
    far_asks: Firewall,
}

impl Through for ByDirection {
    fn pass(&mut self, now: Duration, packet: &mut Packet) -> bool {
        let asked_by_near = (packet.from == Endpoint::Near) == (packet.kind == Kind::Request);
        let one = if asked_by_near { &mut self.near_asks } else { &mut self.far_asks };
        one.pass(now, packet)
    }
}

#[test]
fn keys_that_differ_by_direction_show() {
    let both = Firewall { far_may_ask: true, ..Firewall::conntrack(20.0) };
    let addresses = Firewall { id: false, ..both.clone() };
    let sheet = through(vec![Box::new(ByDirection { near_asks: both.clone(), far_asks: both.clone() })]);
    assert_eq!(sheet.answer(Fact::Roles), Some(&FactValue::Same));
    let sheet = through(vec![Box::new(ByDirection { near_asks: both, far_asks: addresses })]);
    assert_eq!(sheet.answer(Fact::Id), Some(&FactValue::Yes));
    let roles = sheet.answer(Fact::Roles);
    assert_eq!(roles, Some(&FactValue::Different), "{:#?}", sheet.finding(Fact::Roles));
    assert_two(&sheet);
}

#[test]
fn a_wall_is_not_characterised() {
    struct Wall;
    impl Through for Wall {
        fn pass(&mut self, _now: Duration, _packet: &mut Packet) -> bool {
            false
        }
    }
    let mut link = Link::through(vec![Box::new(Wall)]);
    let sheet = link.characterise(Effort::of(Level::Ordinary));
    for finding in &sheet.facts {
        assert!(!finding.value.is_known() && finding.confidence == Confidence::Unknown, "{finding:#?}");
    }
    let state = sheet.finding(Fact::State).and_then(|finding| finding.note.clone()).unwrap_or_default();
    assert!(state.contains("the control was lost in"), "{state}");
    assert!(sheet.fingerprint.is_empty());
    assert!(link.now.as_secs() < 30, "{:?}: it gives up soon", link.now);
}

#[test]
fn heavy_loss_is_told_and_nothing_wrong_is_said() {
    let firewall = Firewall::conntrack(10.0);
    for (seed, loss) in [(1, 0.3), (2, 0.5), (3, 0.7)] {
        let mut link = Link::through(vec![Box::new(firewall.clone())]);
        (link.loss, link.dice.0) = (loss, seed);
        let sheet = link.characterise(Effort::of(Level::Ordinary));
        assert_not_wrong(&sheet, &firewall.truth());
        assert!(sheet.control_packets_lost > 0);
    }
}

#[test]
fn an_interrupted_session_says_what_it_learnt() {
    let mut link = Link::through(vec![Box::new(Firewall::conntrack(20.0))]);
    let mut session = Session::new(ends(), Effort::of(Level::Ordinary), 7);
    let mut left = Vec::new();
    for _ in 0..3 {
        let timeline = session.next_timeline().expect("there is more");
        left.push(session.progress().left);
        let run = link.run(&timeline);
        session.record(&run);
    }
    let late = Duration::from_secs(5);
    assert!(left.windows(2).all(|pair| pair[1] <= pair[0] + late), "{left:?}");
    let sheet = session.datasheet();
    assert_eq!(sheet.facts.len(), Fact::ALL.len());
    assert_eq!(sheet.answer(Fact::State), Some(&FactValue::Yes));
    assert_eq!(sheet.answer(Fact::Timeout), Some(&FactValue::NotTested));
    let note = sheet.finding(Fact::Timeout).and_then(|finding| finding.note.clone());
    assert!(note.is_some_and(|note| note.contains("interrupted")));
}

#[test]
fn a_run_that_was_cut_short_is_no_silence() {
    let mut link = Link::through(vec![Box::new(Firewall::stateless())]);
    let mut session = Session::new(ends(), Effort::of(Level::Quick), 7);
    let timeline = session.next_timeline().expect("there is more");
    let mut run = link.run(&timeline);
    run.deliveries.truncate(2);
    session.record(&run);
    let state = session.datasheet().finding(Fact::State).cloned().expect("it is a fact");
    assert_ne!((state.value, state.confidence), (FactValue::Yes, Confidence::Certain));
}

#[test]
fn without_second_addresses_what_needs_them_is_not_tested() {
    let mut link = Link::through(vec![Box::new(Firewall::conntrack(10.0))]);
    link.ends.near.truncate(1);
    link.ends.far.truncate(1);
    let sheet = link.characterise(Effort::of(Level::Quick));
    for fact in [Fact::Source, Fact::Destination] {
        let finding = sheet.finding(fact).expect("it is a fact");
        assert_eq!(finding.value, FactValue::NotTested);
        assert!(finding.note.as_ref().is_some_and(|note| note.contains("no second address")), "{finding:#?}");
    }
}

#[test]
fn one_fact_alone_asks_for_little() {
    let mut link = Link::through(vec![Box::new(Firewall::conntrack(10.0))]);
    let only = std::collections::BTreeSet::from([Fact::Size]);
    let sheet = link.characterise(Effort { only, ..Effort::of(Level::Ordinary) });
    let facts: Vec<Fact> = sheet.facts.iter().map(|finding| finding.fact).collect();
    assert_eq!(facts, [Fact::State, Fact::Size]);
    assert!(link.now.as_secs() < 12, "{:?}", link.now);
}

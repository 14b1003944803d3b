//! The runner, against a lab that exists only as a clock and a list of packets on their way.

use super::*;
use crate::lab::experiment::ALL;

/// A stateful firewall as the design has it, with a clock that moves only when somebody waits.
struct Fake {
    start: Instant,
    elapsed: Duration,
    /// How long a packet takes from one checkpoint to the next.
    latency: Duration,
    /// Packets on their way: when they are counted, and where.
    passing: Vec<(Duration, Nic, Kind, u16)>,
    /// Ids that A asked with.
    asked: Vec<u16>,
    absorbed: Vec<u16>,
    /// Lets everything through.
    leaky: bool,
    blind: Option<Nic>,
    log: Vec<String>,
}

impl Fake {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            elapsed: Duration::ZERO,
            latency: Duration::from_millis(3),
            passing: Vec::new(),
            asked: Vec::new(),
            absorbed: Vec::new(),
            leaky: false,
            blind: None,
            log: Vec::new(),
        }
    }

    fn travel(&mut self, kind: Kind, id: u16, from: Duration) -> Duration {
        let allowed = self.leaky || kind.echo == Echo::Request || self.asked.contains(&id);
        let mut at = from;
        for nic in in_order(kind.echo).into_iter().take(if allowed { 4 } else { 2 }) {
            at += self.latency;
            self.passing.push((at, nic, kind, id));
        }
        at
    }
}

impl Instruments for Fake {
    type Error = String;

    fn absorb(&mut self, _: Family, ids: &[u16]) -> Result<(), String> {
        self.absorbed = ids.to_vec();
        Ok(())
    }

    fn send(&mut self, from: LabHost, kind: Kind, id: u16, count: u32) -> Result<(), String> {
        self.log.push(format!("{} {:?} {id} x{count} at {:?}", from.name(), kind.echo, self.elapsed));
        for _ in 0..count {
            if kind.echo == Echo::Request {
                self.asked.push(id);
            }
            let arrived = self.travel(kind, id, self.elapsed);
            if kind.echo == Echo::Request && !self.absorbed.contains(&id) {
                self.travel(Kind { echo: Echo::Reply, ..kind }, id, arrived);
            }
        }
        Ok(())
    }

    fn sight(&mut self, nic: Nic, _: Hop, kind: Kind, id: u16) -> Result<Sight, String> {
        if self.blind == Some(nic) {
            return Ok(Sight::Blind("covered".into()));
        }
        let counted = |(at, where_, what, with): &&(Duration, Nic, Kind, u16)| {
            *at <= self.elapsed && (*where_, *what, *with) == (nic, kind, id)
        };
        Ok(Sight::counted(u64::try_from(self.passing.iter().filter(counted).count()).expect("few")))
    }

    fn ingress(&self, _: Nic) -> Hop {
        Hop::XdpIn
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    fn pause(&mut self, time: Duration) {
        self.elapsed += time;
    }
}

const IDS: Ids = Ids { x: 7, y: 8 };

#[test]
fn every_experiment_comes_out_as_designed_at_a_firewall_that_works() {
    for experiment in ALL {
        for family in [Family::V4, Family::V6] {
            let outcome = run(&experiment, family, IDS, &mut Fake::new()).expect("a run");
            assert!(outcome.as_expected(), "{}: {}", experiment.name, outcome.finding());
        }
    }
}

#[test]
fn a_firewall_that_keeps_no_state_is_found_out() {
    for (name, passes) in [("normal", true), ("reply-only", false), ("many-replies", true), ("id-mismatch", false)] {
        let experiment = Experiment::named(name).expect("known");
        let outcome = run(experiment, Family::V4, IDS, &mut Fake { leaky: true, ..Fake::new() }).expect("a run");
        assert_eq!(outcome.as_expected(), passes, "{name}: {}", outcome.finding());
    }
}

#[test]
fn a_leak_that_comes_late_is_still_seen() {
    let mut slow = Fake { leaky: true, latency: Duration::from_millis(20), ..Fake::new() };
    let outcome = run(Experiment::named("reply-only").expect("known"), Family::V4, IDS, &mut slow).expect("a run");
    assert!(!outcome.as_expected(), "the replies pass the firewall 20 ms after they entered it");
}

#[test]
fn a_step_waits_for_the_one_before_it() {
    let mut fake = Fake::new();
    run(Experiment::named("many-replies").expect("known"), Family::V4, IDS, &mut fake).expect("a run");
    assert_eq!(fake.log, ["a Request 7 x1 at 0ns", "b Reply 7 x5 at 12ms"]);
}

#[test]
fn a_run_ends_soon_after_the_last_packet() {
    let mut fake = Fake::new();
    run(Experiment::named("normal").expect("known"), Family::V4, IDS, &mut fake).expect("a run");
    assert!(fake.elapsed <= Duration::from_millis(24) + QUIET + 2 * POLL, "{:?}", fake.elapsed);
}

#[test]
fn a_run_ends_in_time_when_nothing_arrives() {
    let mut dead = Fake { latency: Duration::from_secs(3600), ..Fake::new() };
    let outcome = run(Experiment::named("id-mismatch").expect("known"), Family::V4, IDS, &mut dead).expect("a run");
    assert!(!outcome.as_expected());
    assert!(dead.elapsed <= 3 * (LIMIT + POLL), "{:?}", dead.elapsed);
}

#[test]
fn nobody_waits_for_what_a_blind_checkpoint_cannot_show() {
    let mut fake = Fake { blind: Some(Nic::B), ..Fake::new() };
    let outcome = run(Experiment::named("normal").expect("known"), Family::V4, IDS, &mut fake).expect("a run");
    assert!(fake.elapsed < LIMIT && !outcome.as_expected());
    assert_eq!(outcome.stops, [], "blind is not missing");
}

#[test]
fn no_id_is_given_twice() {
    let mut ids = FreshIds::default();
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let Ids { x, y } = ids.pair();
        assert!(given.insert(x) && given.insert(y) && x != 0 && y != 0);
    }
}

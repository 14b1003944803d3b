//! What counts are worth.

use super::*;
use crate::middlebox::timeline::{Endpoint, SendTime, TimedPacket, Timeline, TimelinePacket};

fn tally(passed: u32, stopped: u32) -> TrialTally {
    TrialTally { passed, stopped, void: 0 }
}

const QUIET: PathLoss = PathLoss { trips: 60, lost: 0 };

#[test]
fn three_silences_are_certain_on_a_quiet_path_and_nothing_on_a_bad_one() {
    assert_eq!(tally(0, 3).belief(QUIET), Belief::Stops(Confidence::Certain));
    assert_eq!(tally(0, 3).belief(PathLoss { trips: 60, lost: 6 }), Belief::Stops(Confidence::Likely));
    assert_eq!(tally(0, 3).belief(PathLoss { trips: 60, lost: 30 }), Belief::Unsure);
    assert_eq!(tally(0, 3).belief(PathLoss::default()), Belief::Unsure, "nothing is known of the path");
    assert_eq!(tally(0, 0).belief(QUIET), Belief::Unsure);
}

#[test]
fn an_arrival_is_proof_but_a_lonely_one_among_silences_is_not_ordinary() {
    assert_eq!(tally(3, 0).belief(QUIET), Belief::Passes(Confidence::Certain));
    assert_eq!(tally(1, 1).belief(QUIET), Belief::Passes(Confidence::Likely));
    assert_eq!(tally(1, 5).belief(QUIET), Belief::Unsure);
    assert_eq!(tally(4, 2).belief(PathLoss { trips: 60, lost: 6 }), Belief::Passes(Confidence::Certain));
}

#[test]
fn the_chance_of_loss_is_that_of_the_binomial() {
    assert!((at_least(0, 3, 0.5) - 1.0).abs() < 1e-12);
    assert!((at_least(1, 3, 0.5) - 0.875).abs() < 1e-12);
    assert!((at_least(3, 3, 0.5) - 0.125).abs() < 1e-12);
    assert!(at_least(4, 3, 0.5) < 1e-12);
}

fn delivery(sent_ms: u64, left: Option<bool>, arrives: bool) -> Delivery {
    let address = std::net::IpAddr::from([10, 0, 0, 1]);
    let sent = Duration::from_millis(sent_ms);
    let arrival = Arrival {
        id: 7,
        source: address,
        destination: address,
        seq: 1,
        code: 0,
        ttl: 64,
        size: 56,
        after: sent + Duration::from_millis(1),
    };
    Delivery { sent: SendTime::At(sent), left, arrived: arrives.then_some(arrival).into_iter().collect() }
}

fn plan() -> TrialPlan {
    let request = TimedPacket::new(Duration::ZERO, Endpoint::Near, TimelinePacket::Request, EchoId::Fixed(7));
    let reply = TimedPacket::new(Duration::from_secs(1), Endpoint::Far, TimelinePacket::Reply, EchoId::OfArrived(0));
    let timeline = Timeline { packets: vec![request, reply], linger: Duration::ZERO };
    let (fact, control) = (Fact::State, Control::Positive);
    let trial = Trial { fact, arm: "a", mark: 0, control, needs: vec![0], since: 0, subject: 1 };
    TrialPlan { timeline, trials: vec![trial] }
}

fn end(first: Delivery, second: Delivery) -> (TrialEnd, PathLoss) {
    let mut loss = PathLoss::default();
    let run = PlayedTimeline { deliveries: vec![first, second], clock_error: Duration::ZERO };
    (votes(&plan(), &run, &mut loss)[0].end, loss)
}

#[test]
fn what_did_not_leave_its_own_host_says_nothing_of_the_network() {
    let there = delivery(0, Some(true), true);
    let trips = |trips, lost| PathLoss { trips, lost };
    assert_eq!(end(there.clone(), delivery(9, Some(true), true)), (TrialEnd::Passed, trips(2, 0)));
    assert_eq!(end(there.clone(), delivery(9, None, false)), (TrialEnd::Stopped, trips(2, 1)));
    assert_eq!(end(there.clone(), delivery(9, Some(false), false)), (TrialEnd::Void, trips(1, 0)));
    assert_eq!(end(delivery(0, None, false), delivery(9, None, false)), (TrialEnd::Void, trips(2, 2)));
    assert_eq!(end(there, Delivery::default()), (TrialEnd::Void, trips(1, 0)));
}

#[test]
fn the_age_is_that_of_the_packets_as_they_were_sent() {
    let run = PlayedTimeline {
        deliveries: vec![delivery(500, None, true), delivery(2250, None, true)],
        clock_error: Duration::ZERO,
    };
    assert_eq!(votes(&plan(), &run, &mut PathLoss::default())[0].age, Duration::from_millis(1750));
}

#[test]
fn a_run_that_was_cut_short_leaves_votes_void() {
    assert_eq!(votes(&plan(), &PlayedTimeline::default(), &mut PathLoss::default())[0].end, TrialEnd::Void);
}

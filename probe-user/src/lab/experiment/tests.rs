//! The designs hold together, and counts are read as they should be.

use probe_ebpf::{Family, Hop};
use proptest::prelude::*;

use super::{outcome::path, *};
use crate::ledger::{Confidence, Layer, Sight};

const IDS: Ids = Ids { x: 0x1111, y: 0x2222 };

fn named(name: &str) -> &'static Experiment {
    Experiment::named(name).expect("an experiment of that name")
}

/// The run in which everything comes out as designed, but for what `change` says.
fn run(experiment: &Experiment, change: impl Fn(Echo, Name, Nic, u64) -> Sight) -> Outcome {
    let designed = |echo, id, nic| {
        let place = outcome::in_order(echo).iter().position(|at| *at == nic).expect("a NIC of the lab");
        experiment.expected(experiment.steps.len(), echo, id)[place]
    };
    evaluate(
        experiment,
        Family::V4,
        IDS,
        |_| Hop::XdpIn,
        |echo, id, nic| change(echo, id, nic, designed(echo, id, nic)),
    )
}

fn designed(experiment: &Experiment) -> Outcome {
    run(experiment, |_, _, _, count| Sight::counted(count))
}

#[test]
fn what_is_expected_follows_from_the_steps() {
    let expected = |name: &str, echo, id| named(name).expected(9, echo, id);
    assert_eq!(expected("normal", Echo::Request, Name::X), [1; 4]);
    assert_eq!(expected("normal", Echo::Reply, Name::X), [1; 4]);
    assert_eq!(expected("reply-only", Echo::Request, Name::X), [0; 4]);
    assert_eq!(expected("reply-only", Echo::Reply, Name::X), [3, 3, 0, 0]);
    assert_eq!(expected("many-replies", Echo::Request, Name::X), [1; 4]);
    assert_eq!(expected("many-replies", Echo::Reply, Name::X), [5; 4]);
    assert_eq!(expected("id-mismatch", Echo::Reply, Name::Y), [1, 1, 0, 0]);
    assert_eq!(expected("id-mismatch", Echo::Reply, Name::X), [1; 4]);
    assert_eq!(expected("id-mismatch", Echo::Request, Name::Y), [0; 4]);
}

#[test]
fn what_is_expected_grows_step_by_step() {
    let after = |steps| named("id-mismatch").expected(steps, Echo::Reply, Name::X);
    assert_eq!([after(0), after(1), after(2), after(3)], [[0; 4], [0; 4], [0; 4], [1; 4]]);
}

#[test]
fn a_designed_run_is_as_expected_and_teaches() {
    for experiment in ALL {
        let outcome = designed(&experiment);
        assert!(outcome.as_expected(), "{}: {:?}", experiment.name, outcome.differences);
        assert_eq!(outcome.finding(), experiment.lesson);
    }
}

#[test]
fn only_what_nobody_asked_for_stops_and_it_stops_inside_the_firewall() {
    let stops = |name: &str| {
        let outcome = designed(named(name));
        let told = |(id, stop): &(Name, crate::ledger::Stop)| {
            assert_eq!((stop.layer(), stop.confidence()), (Some(Layer::Path), Confidence::Certain));
            format!("{} {id} {}: {} > {}", stop.packets, stop.host(), stop.last_seen, stop.first_missing)
        };
        outcome.stops.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(stops("normal"), [""; 0]);
    assert_eq!(stops("many-replies"), [""; 0]);
    assert_eq!(stops("reply-only"), ["3 X fw: fw:b (xdp_in) > fw:a (tc_out)"]);
    assert_eq!(stops("id-mismatch"), ["1 Y fw: fw:b (xdp_in) > fw:a (tc_out)"]);
}

#[test]
fn a_reply_that_leaks_through_is_a_difference_though_nothing_stops() {
    let leaked = run(named("reply-only"), |echo, id, _, _| {
        Sight::counted(if (echo, id) == (Echo::Reply, Name::X) { 3 } else { 0 })
    });
    assert_eq!(leaked.stops, []);
    let finding = leaked.finding();
    assert!(finding.contains("a:eth0 (xdp_in) counted 3 of reply X where the design says 0"), "{finding}");
}

#[test]
fn packets_that_nobody_planned_are_told() {
    let outcome = run(named("many-replies"), |echo, id, nic, count| {
        let answered_by_kernel = echo == Echo::Reply && id == Name::X && nic == Nic::B;
        Sight::counted(count + u64::from(answered_by_kernel))
    });
    assert_eq!(outcome.differences, ["b:eth0 (tc_out) counted 6 of reply X where the design says 5"]);
}

#[test]
fn what_was_sent_and_never_reached_the_interface_stops_in_the_sender() {
    let outcome = run(named("reply-only"), |_, _, _, _| Sight::Missing);
    let (_, stop) = &outcome.stops[0];
    assert_eq!((stop.host(), stop.layer(), stop.packets), ("b", None, 3));
    assert!(!outcome.as_expected());
}

#[test]
fn a_blind_checkpoint_is_never_as_designed_and_never_missing() {
    for experiment in ALL {
        for blind in Nic::ALL {
            let outcome = run(&experiment, |_, _, nic, count| {
                if nic == blind { Sight::Blind("not attached".into()) } else { Sight::counted(count) }
            });
            assert!(!outcome.as_expected());
            assert!(outcome.finding().contains("was blind to"), "{}", outcome.finding());
            let place = format!("{}:{}", blind.host().name(), blind.interface());
            assert!(
                outcome
                    .stops
                    .iter()
                    .all(|(_, stop)| stop.first_missing.place() != place && stop.last_seen.place() != place)
            );
        }
    }
}

#[test]
fn the_paths_checkpoints_are_in_the_order_of_the_interfaces() {
    for echo in [Echo::Request, Echo::Reply] {
        let places: Vec<_> = path(echo, |_| Hop::TcIn).checkpoints.iter().map(crate::path::Checkpoint::place).collect();
        let nics: Vec<_> =
            outcome::in_order(echo).iter().map(|nic| format!("{}:{}", nic.host().name(), nic.interface())).collect();
        assert_eq!(places, nics);
    }
}

#[test]
fn names_are_unique_and_lessons_are_short() {
    for experiment in ALL {
        assert_eq!(Experiment::named(experiment.name), Some(&experiment));
        assert!(ALL.iter().filter(|other| other.name == experiment.name).count() == 1);
        assert!(experiment.lesson.matches(". ").count() <= 4, "{}", experiment.name);
    }
    assert_eq!(Experiment::named("bogus"), None);
}

proptest! {
    #[test]
    fn a_run_is_as_expected_exactly_when_every_count_is(
        which in 0usize..4, echo in prop::sample::select(vec![Echo::Request, Echo::Reply]),
        id in prop::sample::select(Name::ALL.to_vec()), at in prop::sample::select(Nic::ALL.to_vec()), count in 0u64..8,
    ) {
        let experiment = &ALL[which];
        let mut same = true;
        let outcome = {
            let same = std::cell::RefCell::new(&mut same);
            run(experiment, |e, i, nic, designed| {
                let hit = (e, i, nic) == (echo, id, at);
                if hit { **same.borrow_mut() = designed == count; }
                Sight::counted(if hit { count } else { designed })
            })
        };
        prop_assert_eq!(outcome.as_expected(), same);
    }
}

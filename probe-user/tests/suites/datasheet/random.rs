//! Boxes of all kinds under loss: an answer that is called certain is never wrong, and most facts have one.

use std::ops::Range;

use probe_user::datasheet::{Effort, Level};
use proptest::{prelude::*, test_runner::RngSeed};

use super::{
    boxes::{Codes, Firewall, Strays},
    link::Link,
    truth::assert_not_wrong,
};

prop_compose! {
    fn memory()(
        id in prop::bool::weighted(0.85), seq in prop::bool::weighted(0.15), source: bool, destination: bool,
        codes in prop::sample::select(vec![Codes::InKey, Codes::Ignored, Codes::ZeroOnly]),
        timeout in 3.0..110.0_f64, after_reply in prop::option::weighted(0.3, 3.0..60.0_f64),
        refreshed_by_request: bool, refreshed_by_reply: bool,
        replies in prop::option::weighted(0.2, prop::sample::select(vec![1_u32, 3, 8, 40])),
    ) -> Firewall {
        Firewall {
            id, seq, source, destination, codes, timeout, after_reply, refreshed_by_request, refreshed_by_reply, replies,
            ..Firewall::conntrack(1.0)
        }
    }
}

prop_compose! {
    fn firewall()(
        memory in memory(), far_may_ask: bool, types_mixed: bool, errors_about_seen: bool, errors_about_unseen: bool,
        error_ends_state: bool, stateful in prop::bool::weighted(0.9),
        strays in prop::sample::select(vec![Strays::Stopped, Strays::Pass, Strays::Remembered]),
        largest in prop::sample::select(vec![100_u16, 1472, u16::MAX]),
    ) -> Firewall {
        if !stateful {
            return Firewall { largest, ..Firewall::stateless() };
        }
        Firewall {
            far_may_ask, types_mixed, errors_about_seen, errors_about_unseen, error_ends_state, strays, largest, ..memory
        }
    }
}

/// Characterises a box under loss; how many of its facts were found right, and how many there are.
fn judged(firewall: &Firewall, loss: f64, seed: u64) -> (usize, usize) {
    let mut link = Link::through(vec![Box::new(firewall.clone())]);
    (link.loss, link.dice.0) = (loss, seed);
    let sheet = link.characterise(Effort::of(Level::Ordinary));
    assert_not_wrong(&sheet, &firewall.truth())
}

/// As many boxes as `PROBE_BOXES` says: the seeds are fixed, so that a test that passes always passes. What many boxes
/// brought to light is kept and tried again by everyone.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROBE_BOXES").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(5), source_file: Some(file!()), ..ProptestConfig::default() }
}

fn many(losses: Range<f64>, share: f64) {
    let (mut right, mut all) = (0, 0);
    let strategy = (firewall(), losses, any::<u64>());
    let mut runner = proptest::test_runner::TestRunner::new(cases());
    let counts = std::cell::RefCell::new((&mut right, &mut all));
    let result = runner.run(&strategy, |(firewall, loss, seed)| {
        let (one, of) = judged(&firewall, loss, seed);
        let mut counts = counts.borrow_mut();
        *counts.0 += one;
        *counts.1 += of;
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{right} of {all} facts right");
    assert!(right as f64 >= share * all as f64, "only {right} of {all} facts were found right");
}

#[test]
fn without_loss_every_fact_is_right() {
    many(0.0..1e-9, 1.0);
}

#[test]
fn at_five_percent_loss_nearly_all_are_right_and_none_is_wrong_with_certainty() {
    many(0.0499..0.0501, 0.98);
}

#[test]
fn at_up_to_thirty_percent_loss_no_answer_is_wrong_with_certainty() {
    many(0.0..0.3, 0.8);
}

//! The guard in the kernel: whatever its options and whatever comes, it does what the model does.

mod both;
mod random;

use probe_ebpf::{GuardCount, guard::WAYS};
use probe_user::filter::guard::{CodeRule, Enforce, GuardOptions, Protect, Refresh, RequestPolicy, StateKey};

use super::{random::Random, ready::ready};
use both::{Both, Place};
use random::{crowded, deaf, options, packet, strict};

/// Packets for each of the random guards.
const PACKETS: usize = 1_200;

/// How many random guards.
const GUARDS: usize = 24;

/// The first of them: with these everything is met that can be, whatever the others are.
const SURE: [fn() -> GuardOptions; 3] = [crowded, strict, deaf];

/// Tries `options` with random packets at each place, and says what was met.
fn agree(random: &mut Random, options: &GuardOptions, about: &str) -> [u64; GuardCount::COUNT] {
    let mut met = [0; GuardCount::COUNT];
    let mut both = Both::new(options, random.next());
    for number in 0..PACKETS {
        let (place, seen) = packet(random);
        // Mostly together, sometimes late, now and then after everything.
        both.pass_time(match random.below(20) {
            0..14 => 0,
            14..19 => random.next() % 400_000_000,
            _ => random.next() % 20_000_000_000,
        });
        both.see(place, &seen, &format!("{about}, packet {number}: {seen:?} at {place:?}"));
    }
    both.compare(about);
    for what in GuardCount::ALL {
        met[what.index() as usize] += both.model.count(what);
    }
    met
}

#[test]
fn whatever_it_is_told_and_whatever_comes_it_does_what_the_model_does() {
    if !ready("whatever_it_is_told_and_whatever_comes_it_does_what_the_model_does") {
        return;
    }
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let mut met = [0; GuardCount::COUNT];
    for number in 0..GUARDS {
        let options = SURE.get(number).map_or_else(|| options(&mut random), |sure| sure());
        let about = format!("PROBE_SEED={seed}, guard {number} {options:?}");
        for (sum, more) in met.iter_mut().zip(agree(&mut random, &options, &about)) {
            *sum += more;
        }
    }
    for what in GuardCount::ALL {
        assert!(met[what.index() as usize] > 0, "{what:?} was never met: PROBE_SEED={seed}");
    }
}

/// Every field by itself and with others: the key is what the kernel half and the model most easily read differently.
#[test]
fn every_key_is_the_model_s_key() {
    if !ready("every_key_is_the_model_s_key") {
        return;
    }
    let seed = Random::seed();
    let mut random = Random::new(seed);
    for key in ["source", "destination", "id", "seq", "code", "addresses,id", "addresses,id,seq,code"] {
        let key: StateKey = key.parse().expect("a key");
        let timeout = std::time::Duration::from_secs(36_000);
        let options = GuardOptions { key, timeout, protect: Protect::Both, ..GuardOptions::default() };
        let met = agree(&mut random, &options, &format!("PROBE_SEED={seed}, {key}"));
        assert!(met[GuardCount::Passed.index() as usize] > 0 && met[GuardCount::NoState.index() as usize] > 0, "{key}");
    }
}

#[test]
fn a_dry_run_counts_the_same_and_drops_nothing() {
    if !ready("a_dry_run_counts_the_same_and_drops_nothing") {
        return;
    }
    let seed = Random::seed();
    let real = GuardOptions { requests: RequestPolicy::Deny, code: CodeRule::Zero, ..options(&mut Random::new(seed)) };
    let real = GuardOptions { protect: Protect::In, enforce: Enforce::Drop, ..real };
    let dry = GuardOptions { enforce: Enforce::DryRun, ..real.clone() };
    let about = format!("PROBE_SEED={seed}");
    let met = [&real, &dry].map(|options| agree(&mut Random::new(seed + 1), options, &about));
    assert_eq!(met[0], met[1]);
}

#[test]
fn a_guard_whose_time_is_over_lets_everything_pass() {
    if !ready("a_guard_whose_time_is_over_lets_everything_pass") {
        return;
    }
    let options = GuardOptions { requests: RequestPolicy::Deny, ..GuardOptions::default() };
    let mut both = Both::with(&options, 1, |config| config.deadline_ns = 5_000_000_000);
    let mut random = Random::new(1);
    for second in 0..10 {
        for _ in 0..50 {
            let (place, seen) = packet(&mut random);
            both.see(place, &seen, &format!("in second {second}"));
        }
        both.pass_time(1_000_000_000);
    }
    both.compare("to the end");
    assert!(both.model.count(GuardCount::Denied) > 0);
}

#[test]
fn what_cannot_be_read_or_is_no_echo_passes_a_guard_that_knows_nobody() {
    if !ready("what_cannot_be_read_or_is_no_echo_passes_a_guard_that_knows_nobody") {
        return;
    }
    let deny = GuardOptions { requests: RequestPolicy::Deny, ..GuardOptions::default() };
    let both = Both::new(&deny, 1);
    let skipped = super::samples::skipped().into_iter().map(|(name, frame, _)| (name, frame));
    for (name, frame) in skipped.chain(super::samples::others()) {
        for place in Place::ALL {
            assert_eq!(both.run(place, &frame), super::loaded::Action::Pass, "{name} at {place:?}");
        }
    }
    for sample in super::samples::echoes() {
        let entering = [Place::Xdp, Place::XdpGeneric, Place::In];
        let ends = entering.map(|place| both.run(place, &sample.frame));
        assert_eq!(ends, [super::loaded::Action::Drop; 3], "{}: a request or a reply that nobody allowed", sample.name);
        assert_eq!(both.run(Place::Out, &sample.frame), super::loaded::Action::Pass, "{}", sample.name);
    }
}

/// The verifier takes every program whatever is on or off: what is off is not there.
#[test]
fn the_kernel_takes_the_programs_with_everything_on_and_with_everything_off() {
    if !ready("the_kernel_takes_the_programs_with_everything_on_and_with_everything_off") {
        return;
    }
    for protect in [Protect::In, Protect::Out, Protect::Both] {
        let on = GuardOptions {
            protect,
            key: "addresses,id,seq,code".parse().expect("a key"),
            code: CodeRule::Zero,
            timeout_after_reply: Some(std::time::Duration::from_secs(1)),
            replies: std::num::NonZeroU32::new(1),
            requests: if protect == Protect::Both { RequestPolicy::Allow } else { RequestPolicy::Deny },
            ..GuardOptions::default()
        };
        let off = GuardOptions {
            protect,
            key: StateKey::ID,
            refresh: Refresh::NOTHING,
            states: WAYS as u32,
            enforce: Enforce::DryRun,
            ..GuardOptions::default()
        };
        for options in [on, off] {
            Both::with(&options, 1, |config| config.test_clock = 0);
            Both::with(&options, 1, |config| config.deadline_ns = 1);
        }
    }
}

//! What the words of an answer say in numbers, its measures say too.

use proptest::prelude::*;

use super::*;
use crate::{
    middlebox::datasheet::{answer::Rewriting, finding::FactFinding},
    model::verdict::Confidence,
};

/// Returns each answer, with any numbers in it.
fn answers() -> impl Strategy<Value = FactValue> {
    let times = || (0.0..2000.0_f64, 0.0..5.0_f64).prop_map(|(low, width)| (low, low + width));
    let ids = prop_oneof![
        Just(IdPolicy::Kept),
        Just(IdPolicy::KeptWhereFree),
        Just(IdPolicy::Overloaded),
        Just(IdPolicy::Random),
        (any::<u16>(), any::<u16>()).prop_map(|(low, high)| IdPolicy::Range { low, high }),
    ];
    let words = prop_oneof![
        Just(FactValue::Yes),
        Just(FactValue::No),
        Just(FactValue::ZeroOnly),
        Just(FactValue::Partly),
        Just(FactValue::Independent),
        Just(FactValue::FarMayNotAsk),
        Just(FactValue::OpensForRequests),
        Just(FactValue::Collides),
        Just(FactValue::NothingRemembered),
        Just(FactValue::Same),
        Just(FactValue::Different),
        Just(FactValue::Inconclusive),
        Just(FactValue::NotTested),
    ];
    prop_oneof![
        words,
        times().prop_map(|(low, high)| FactValue::Between { low, high }),
        times().prop_map(|(low, high)| FactValue::Until { low, high }),
        times().prop_map(|(low, _)| FactValue::Beyond { low }),
        times().prop_map(|(_, high)| FactValue::Under { high }),
        any::<u32>().prop_map(|replies| FactValue::Limit { replies }),
        (0..3_u32).prop_map(|replies| FactValue::Limit { replies }),
        any::<u32>().prop_map(|tried| FactValue::Unlimited { tried }),
        any::<[bool; 3]>().prop_map(|[about_seen, about_unseen, state_lives]| FactValue::Errors {
            about_seen,
            about_unseen,
            state_lives
        }),
        (any::<bool>(), ids).prop_map(|(kept, id)| {
            let address = if kept { Rewriting::Kept } else { Rewriting::Rewritten };
            FactValue::Nat { address, id }
        }),
        (any::<[u32; 3]>(), 0..1_000_000_u32).prop_map(|([free, limited, burst], tenths)| FactValue::Rate {
            free,
            limited,
            sustained: f64::from(tenths) / 10.0,
            burst
        }),
        any::<[u16; 3]>().prop_map(|[request, reply, tried]| FactValue::Sizes { request, reply, tried }),
        any::<u16>().prop_map(|size| FactValue::Sizes { request: size, reply: size, tried: size }),
    ]
}

/// Returns the numbers that a text shows, each with the digits behind its point. `one` counts where it begins the
/// answer.
fn numbers(text: &str) -> Vec<(f64, usize)> {
    let text = text.replacen("one: ", "1: ", 1);
    let words = text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.'));
    let number = |word: &str| {
        let word = word.trim_matches('.');
        let digits = word.split_once('.').map_or(0, |(_, behind)| behind.len());
        word.parse().ok().map(|number| (number, digits))
    };
    words.filter_map(number).collect()
}

/// Returns every number that the measures tell: value, bounds, and how far a bound is from the value.
fn told(measures: &[Measure]) -> Vec<f64> {
    let each = |measure: &Measure| {
        let half = measure.value.zip(measure.high).map(|(value, high)| high - value);
        [measure.value, measure.low, measure.high, half]
    };
    measures.iter().flat_map(each).flatten().collect()
}

proptest! {
    #[test]
    fn every_number_of_the_words_is_in_the_measures(fact in prop::sample::select(Fact::ALL.to_vec()), value in answers()) {
        let finding = FactFinding::new(fact, value, Confidence::Certain, Vec::new(), None);
        let told = told(&finding.measures);
        for (number, digits) in numbers(&finding.answer) {
            // Half of the last digit that is shown, and what binary fractions add.
            let near = 0.5 / 10_f64.powi(i32::try_from(digits).unwrap_or(0)) + 1e-6;
            let found = told.iter().any(|told| (told - number).abs() <= near);
            prop_assert!(found, "{number} of '{}' is not in {:?}", finding.answer, finding.measures);
        }
    }

    #[test]
    fn bounds_are_in_order_and_hold_the_value(low in 0.0..2000.0_f64, width in 0.0..5.0_f64) {
        for value in [FactValue::Between { low, high: low + width }, FactValue::Until { low, high: low + width }] {
            let [Measure { value: Some(value), low: Some(low), high: Some(high), unit: Unit::S, .. }] =
                measures(Fact::Timeout, &value)[..]
            else {
                panic!("one measure in seconds");
            };
            prop_assert!(low <= value && value <= high);
        }
    }
}

#[test]
fn units_are_those_of_the_question() {
    let unlimited = FactValue::Unlimited { tried: 100 };
    assert_eq!(measures(Fact::Rate, &unlimited)[0].unit, Unit::PacketsPerSecond);
    assert_eq!(measures(Fact::Replies, &unlimited)[0].unit, Unit::Packets);
    let between = measures(Fact::Timeout, &FactValue::Between { low: 9.0, high: 9.5 });
    let json = serde_json::to_value(&between[0]).expect("JSON");
    let whole = serde_json::json!({"quantity": "lifetime", "value": 9.25, "low": 9.0, "high": 9.5, "unit": "s"});
    assert_eq!(json, whole);
}

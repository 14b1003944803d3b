//! What is true of a box, fact by fact, and whether a datasheet's answer says it.

use std::fmt;

use crate::{
    middlebox::datasheet::{
        Fact, FactFinding, FactValue,
        measure::{Measure, Quantity, Unit, measures},
    },
    model::verdict::Confidence,
};

/// What is true of one fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// This answer.
    Is(FactValue),
    /// A time in seconds, which the answer's bounds must hold.
    Seconds(f64),
    /// A shorter time than is tried.
    Short,
    /// The rate is limited at this many a second.
    Limited(f64),
    /// No limit, however many are tried.
    Unlimited,
    /// It cannot be known, or does not apply; no answer is right.
    Unknowable,
}

/// How far a bound may be wrong, in seconds: bounds are printed with two digits, and kernels count in ticks.
const SLACK: f64 = 0.01;

/// A bracket no wider than this, in seconds, was narrowed down.
const NARROWED: f64 = 0.5;

impl Truth {
    /// Returns the truth of a yes/no question.
    pub const fn yes(yes: bool) -> Self {
        Self::Is(if yes { FactValue::Yes } else { FactValue::No })
    }

    /// Returns whether an answer is true.
    pub fn fits(&self, answer: &FactValue) -> bool {
        match (self, answer) {
            (Self::Is(FactValue::Limit { replies }), FactValue::Unlimited { tried }) => tried < replies,
            (Self::Is(truth), answer) => truth == answer,
            (Self::Seconds(time), FactValue::Between { low, high }) => *low <= time + SLACK && time - SLACK <= *high,
            (Self::Seconds(time), FactValue::Beyond { low }) => low <= time,
            (Self::Short, FactValue::Under { high }) => *high <= 1.0,
            (Self::Limited(rate), FactValue::Rate { free, limited, sustained, .. }) => {
                f64::from(*free) <= *rate && *rate <= f64::from(*limited) && (sustained - rate).abs() <= rate * 0.2
            }
            (Self::Unlimited, FactValue::Unlimited { .. }) => true,
            (Self::Unknowable, answer) => !answer.is_known(),
            _ => false,
        }
    }

    /// Returns how far the middle of an answer's bounds is from the true time, in seconds, or `None` if it is not about
    /// a time.
    pub fn off_by(&self, answer: &FactValue) -> Option<f64> {
        let (Self::Seconds(time), Some((low, high))) = (self, answer.between()) else { return None };
        Some(((low + high) / 2.0 - time).abs())
    }

    /// Returns whether an answer is true and precise enough for the score: within a quarter of a second if the bounds
    /// were narrowed down, otherwise within half a second.
    pub fn is_matched_by(&self, answer: &FactValue) -> bool {
        let narrowed = answer.between().is_some_and(|(low, high)| high - low <= NARROWED);
        let most = if narrowed { NARROWED / 2.0 } else { NARROWED };
        self.fits(answer) && self.off_by(answer).is_none_or(|error| error <= most)
    }

    /// Returns it as an answer, if exactly one says it.
    pub fn value(&self) -> Option<&FactValue> {
        if let Self::Is(answer) = self { Some(answer) } else { None }
    }

    /// Returns its numbers, each with its unit; none if the truth is a word.
    pub fn measures(&self, fact: Fact) -> Vec<Measure> {
        match self {
            Self::Is(answer) => measures(fact, answer),
            Self::Seconds(time) => vec![Measure::exact(Quantity::Lifetime, *time, Unit::S)],
            Self::Limited(rate) => vec![Measure::exact(Quantity::SustainedRate, *rate, Unit::PacketsPerSecond)],
            Self::Short | Self::Unlimited | Self::Unknowable => Vec::new(),
        }
    }

    /// Returns the truth in words, as an answer to `fact` would be worded.
    pub fn words(&self, fact: Fact) -> String {
        match self {
            Self::Is(answer) => FactFinding::new(fact, answer.clone(), Confidence::Certain, Vec::new(), None).answer,
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(answer) => write!(f, "{answer:?}"),
            Self::Seconds(time) => write!(f, "{time} s"),
            Self::Short => f.write_str("shorter than what is tried"),
            Self::Limited(rate) => write!(f, "limited at {rate} a second"),
            Self::Unlimited => f.write_str("no limit"),
            Self::Unknowable => f.write_str("no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_matched_by_bounds_that_hold_it_and_are_near() {
        let truth = Truth::Seconds(5.0);
        let between = |low, high| FactValue::Between { low, high };
        assert!(truth.is_matched_by(&between(4.8, 5.2)));
        assert!(truth.fits(&between(4.0, 5.1)) && truth.is_matched_by(&between(4.0, 5.1)));
        assert!(truth.fits(&between(3.0, 5.1)) && !truth.is_matched_by(&between(3.0, 5.1)), "too wide");
        assert!(!truth.is_matched_by(&between(5.05, 5.3)) && !truth.is_matched_by(&FactValue::Yes));
        assert!(
            truth.is_matched_by(&FactValue::Beyond { low: 4.0 })
                && !truth.is_matched_by(&FactValue::Beyond { low: 6.0 })
        );
        assert_eq!(truth.off_by(&FactValue::Yes), None);
    }

    #[test]
    fn where_nothing_can_be_known_any_answer_is_wrong() {
        assert!(
            Truth::Unknowable.is_matched_by(&FactValue::NotTested)
                && Truth::Unknowable.is_matched_by(&FactValue::Inconclusive)
        );
        assert!(!Truth::Unknowable.is_matched_by(&FactValue::No));
        assert!(!Truth::yes(true).is_matched_by(&FactValue::Inconclusive));
    }

    #[test]
    fn a_truth_is_told_in_the_words_of_its_fact() {
        assert_eq!(Truth::Seconds(4.5).words(Fact::Timeout), "4.5 s");
        assert_eq!(Truth::Seconds(4.5).measures(Fact::Timeout)[0].value, Some(4.5));
        assert!(Truth::yes(false).words(Fact::Seq).contains("ignored"));
    }
}

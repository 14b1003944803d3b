//! What a rule does with what it matches, as typed, as the kernel programs read it, and in words.

use std::{fmt, str::FromStr};

use probe_ebpf::{
    Rule,
    filter::{AFTER, CHANCE, DROP, EVERY, FIRST, PASS, RATE, token_ns},
};

/// What a rule does with the packets that it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RuleAction {
    /// Drops them.
    #[default]
    Drop,
    /// Lets them pass.
    Pass,
    /// Drops the nth, the 2nth and so on.
    Every(u64),
    /// Drops each with this probability.
    Chance(Probability),
    /// Drops the first n.
    First(u64),
    /// Drops all but the first n.
    After(u64),
    /// Drops what exceeds this rate.
    Rate(Rate),
}

impl RuleAction {
    /// Writes itself into `rule`.
    pub fn write(self, rule: &mut Rule) {
        let (action, amount) = match self {
            Self::Drop => (DROP, 0),
            Self::Pass => (PASS, 0),
            Self::Every(count) => (EVERY, count),
            Self::Chance(probability) => (CHANCE, probability.0),
            Self::First(count) => (FIRST, count),
            Self::After(count) => (AFTER, count),
            Self::Rate(rate) => (RATE, rate.per_second),
        };
        (rule.action, rule.amount) = (action, amount);
        rule.burst_ns = match self {
            Self::Rate(rate) => (rate.burst - 1) * token_ns(rate.per_second),
            _ => 0,
        };
    }

    /// Returns the action of `rule`.
    pub fn of(rule: &Rule) -> Self {
        let amount = rule.amount;
        match rule.action {
            PASS => Self::Pass,
            EVERY => Self::Every(amount),
            CHANCE => Self::Chance(Probability(amount)),
            FIRST => Self::First(amount),
            AFTER => Self::After(amount),
            RATE => {
                let burst = rule.burst_ns.checked_div(token_ns(amount)).unwrap_or(0) + 1;
                Self::Rate(Rate { per_second: amount, burst })
            }
            _ => Self::Drop,
        }
    }
}

/// Formats it as it follows `drops` or `counts`.
impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("all"),
            Self::Pass => f.write_str("none"),
            Self::Every(1) => f.write_str("all"),
            Self::Every(count) => write!(f, "1 of {count}"),
            Self::Chance(probability) => write!(f, "{} %", probability.get() * 100.0),
            Self::First(count) => write!(f, "the first {count}"),
            Self::After(count) => write!(f, "all after {count}"),
            Self::Rate(rate) => write!(f, "over {}/s, burst {}", rate.per_second, rate.burst),
        }
    }
}

/// A probability above 0 and up to 1, as a multiple of 2⁻³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability(u64);

const CERTAIN: f64 = 4_294_967_296.0;

impl Probability {
    /// Returns it as a number from 0 to 1, to six digits.
    pub fn get(self) -> f64 {
        (self.0 as f64 / CERTAIN * 1e6).round() / 1e6
    }
}

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        let probability = number.trim_end().parse::<f64>().ok().map(|number| number / scale);
        match probability.filter(|probability| *probability >= 1e-6 && *probability <= 1.0) {
            Some(probability) => Ok(Self((probability * CERTAIN).round() as u64)),
            None => Err(format!("'{text}' is not a probability from 0.000001 to 1, such as 0.25 or 25%")),
        }
    }
}

/// A rate, and how many packets may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets per second.
    pub per_second: u64,
    /// Packets that may come at once, after a silence of that length.
    pub burst: u64,
}

/// The highest rate: above it, whole nanoseconds between tokens are no longer exact to 0.1 %.
const MAX_RATE: u64 = 1_000_000;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| (1..=MAX_RATE).contains(number));
        let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let typed = || {
            let per_second = number(rate)?;
            // A tenth of a second's worth.
            let burst = burst.map_or(Some((per_second / 10).max(1)), number)?;
            Some(Self { per_second, burst })
        };
        typed().ok_or_else(|| {
            format!("'{text}' is not a rate: write packets per second, with an optional :BURST, each from 1 to {MAX_RATE}, such as 100 or 100:20")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_probability_is_a_fraction_or_a_percentage() {
        assert_eq!("0.5".parse(), Ok(Probability(1 << 31)));
        assert_eq!("50%".parse(), Ok(Probability(1 << 31)));
        assert_eq!("1".parse(), Ok(Probability(1 << 32)));
        for bad in ["", "0", "1.1", "101%", "-1", "nan", "inf", "half", "0.0000001"] {
            assert!(bad.parse::<Probability>().is_err_and(|why| why.contains("such as 0.25 or 25%")), "{bad}");
        }
    }

    #[test]
    fn a_rate_has_a_burst_of_a_tenth_unless_another_is_typed() {
        assert_eq!("100".parse(), Ok(Rate { per_second: 100, burst: 10 }));
        assert_eq!("3".parse(), Ok(Rate { per_second: 3, burst: 1 }));
        assert_eq!("100:7".parse(), Ok(Rate { per_second: 100, burst: 7 }));
        for bad in ["", "0", "100:0", "1000001", "100:", "-1", "1.5", "100:7:3"] {
            assert!(bad.parse::<Rate>().is_err_and(|why| why.contains("such as 100 or 100:20")), "{bad}");
        }
    }

    #[test]
    fn an_action_reads_as_a_sentence_goes_on() {
        let text = |action: RuleAction| action.to_string();
        assert_eq!(text(RuleAction::Every(3)), "1 of 3");
        assert_eq!(text(RuleAction::Chance("12.5%".parse().expect("good"))), "12.5 %");
        assert_eq!(text(RuleAction::Rate(Rate { per_second: 10, burst: 2 })), "over 10/s, burst 2");
    }

    proptest! {
        #[test]
        fn an_action_comes_back_from_its_rule(
            count in 1..u64::MAX, chance in 1..=(1_u64 << 32), per_second in 1..=MAX_RATE, burst in 1..=MAX_RATE,
        ) {
            let actions = [
                RuleAction::Drop, RuleAction::Pass, RuleAction::Every(count), RuleAction::First(count), RuleAction::After(count),
                RuleAction::Chance(Probability(chance)), RuleAction::Rate(Rate { per_second, burst }),
            ];
            for action in actions {
                let mut rule = Rule::default();
                action.write(&mut rule);
                prop_assert_eq!(RuleAction::of(&rule), action);
            }
        }
    }
}

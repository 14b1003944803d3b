//! Which known stack a datasheet looks like: how many facts agree with each, and where it differs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    finding::{FactFinding, FactValue},
    stacks::{STACKS, Stack, Trait},
};

/// How similar a box is to one known stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Likeness {
    /// The stack.
    pub stack: String,
    /// How many facts agree.
    pub agree: u32,
    /// How many could be compared: those that the stack is known for and that have an answer.
    pub of: u32,
    /// The share that disagrees, from 0 to 1; a setting that the stack's owner can change counts half.
    pub distance: f64,
    /// Where it differs, one clause each.
    pub differs: Vec<String>,
}

/// How far apart two times may be that are the same setting.
const TOLERANCE: f64 = 0.5;

/// How much one fact disagrees.
enum Fit {
    Agrees,
    /// By a setting that can be changed.
    Set(String),
    Differs(String),
}

/// Compares the facts with every known stack. The most similar comes first; of equals, the one that more facts support.
pub fn likenesses(facts: &[FactFinding]) -> Vec<Likeness> {
    let mut all: Vec<Likeness> = STACKS.iter().filter_map(|stack| likeness(stack, facts)).collect();
    all.sort_by(|one, other| one.distance.total_cmp(&other.distance).then(other.of.cmp(&one.of)));
    all
}

fn likeness(stack: &Stack, facts: &[FactFinding]) -> Option<Likeness> {
    let (mut agree, mut of, mut away, mut differs) = (0, 0, 0.0, Vec::new());
    for (fact, expected) in stack.traits {
        let found = facts.iter().find(|finding| finding.fact == *fact && finding.value.is_known());
        let Some(found) = found else { continue };
        of += 1;
        match fit(stack.name, *expected, found) {
            Fit::Agrees => agree += 1,
            Fit::Set(why) => {
                away += 0.5;
                differs.push(why);
            }
            Fit::Differs(why) => {
                away += 1.0;
                differs.push(why);
            }
        }
    }
    let distance = if of > 0 { away / f64::from(of) } else { 1.0 };
    (of > 0).then(|| Likeness { stack: stack.name.to_owned(), agree, of, distance, differs })
}

fn fit(stack: &str, expected: Trait, found: &FactFinding) -> Fit {
    let agrees = match (expected, &found.value) {
        (Trait::Yes, FactValue::Yes)
        | (Trait::No, FactValue::No)
        | (Trait::ZeroOnly, FactValue::ZeroOnly)
        | (Trait::Several | Trait::Endless, FactValue::Unlimited { .. }) => true,
        (Trait::Several, FactValue::Limit { replies }) => *replies > 1,
        (Trait::Usually(time) | Trait::Seconds(time), answer) => fits_time(answer, time),
        _ => false,
    };
    if agrees {
        return Fit::Agrees;
    }
    let why = |usual: &str| format!("{}: {}; {stack} {usual}", found.fact, found.answer);
    match expected {
        Trait::Usually(time) if !matches!(found.value, FactValue::Under { .. }) => {
            Fit::Set(why(&format!("has {time} s by default")))
        }
        Trait::Usually(time) | Trait::Seconds(time) => Fit::Differs(why(&format!("has {time} s"))),
        Trait::Yes => Fit::Differs(why("does")),
        Trait::No => Fit::Differs(why("does not")),
        Trait::ZeroOnly => Fit::Differs(why("requires code 0")),
        Trait::Several => Fit::Differs(why("lets several pass")),
        Trait::Endless => Fit::Differs(why("lets any number pass")),
    }
}

fn fits_time(answer: &FactValue, time: f64) -> bool {
    match answer {
        FactValue::Between { low, high } => (low - TOLERANCE..=high + TOLERANCE).contains(&time),
        FactValue::Beyond { low } => time >= *low,
        FactValue::Under { high } => time <= *high,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{middlebox::datasheet::Fact, model::verdict::Confidence};

    fn facts(timeout: f64) -> Vec<FactFinding> {
        let found = |fact, value| FactFinding::new(fact, value, Confidence::Certain, Vec::new(), None);
        vec![
            found(Fact::State, FactValue::Yes),
            found(Fact::Id, FactValue::Yes),
            found(Fact::Seq, FactValue::No),
            found(Fact::Code, FactValue::Yes),
            found(Fact::Replies, FactValue::Unlimited { tried: 100 }),
            found(Fact::Timeout, FactValue::Between { low: timeout - 0.1, high: timeout + 0.1 }),
        ]
    }

    #[test]
    fn linux_is_known_by_all_facts() {
        let nearest = likenesses(&facts(30.0)).remove(0);
        assert_eq!((nearest.stack.as_str(), nearest.agree, nearest.of), ("Linux conntrack", 6, 6));
        assert!(nearest.distance.abs() < 1e-9 && nearest.differs.is_empty());
    }

    #[test]
    fn another_timeout_is_a_setting_not_another_stack() {
        let all = likenesses(&facts(7.0));
        let linux = all.iter().find(|likeness| likeness.stack == "Linux conntrack").expect("it is known");
        assert_eq!((linux.agree, linux.of), (5, 6));
        assert!(linux.differs[0].contains("30 s by default"), "{:?}", linux.differs);
        let open_vswitch = all.iter().find(|likeness| likeness.stack.contains("vSwitch")).expect("it is known");
        assert!(linux.distance < open_vswitch.distance);
    }

    #[test]
    fn what_has_no_answer_is_not_compared() {
        let unknown = [FactFinding::not_tested(Fact::Id, "no time")];
        assert!(likenesses(&unknown).is_empty());
        let stateless = [FactFinding::new(Fact::State, FactValue::No, Confidence::Likely, Vec::new(), None)];
        assert_eq!(likenesses(&stateless)[0].stack, "a stateless list of rules");
    }
}

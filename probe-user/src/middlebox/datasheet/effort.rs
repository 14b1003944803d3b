//! How much a characterization may test: which facts, how long, how fast.

use std::{collections::BTreeSet, time::Duration};

use super::fact::Fact;

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What can be known within fifteen seconds: state, key, replies.
    Quick,
    /// Every fact; timeouts up to two minutes.
    #[default]
    Ordinary,
    /// Every fact; timeouts up to fifteen minutes.
    Full,
}

/// The limits of a characterization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How thorough to be.
    pub level: Level,
    /// Only these facts, and those that they build on; empty: all of the level.
    pub only: BTreeSet<Fact>,
    /// The longest timeout that is tried.
    pub longest: Duration,
    /// Maximum packets per second, both ends together, except while the rate itself is tested.
    pub rate: u32,
    /// Maximum requests per second while the rate is tested.
    pub highest_rate: u32,
    /// The round trip time: what is sent has arrived after this.
    pub rtt: Duration,
}

impl Effort {
    /// Returns the usual limits of a level.
    pub fn of(level: Level) -> Self {
        let (longest, highest_rate) = match level {
            Level::Quick | Level::Ordinary => (120, 100),
            Level::Full => (900, 200),
        };
        let rtt = Duration::from_millis(20);
        Self { level, only: BTreeSet::new(), longest: Duration::from_secs(longest), rate: 50, highest_rate, rtt }
    }

    /// Returns the facts to find out, including those that the wanted ones build on.
    pub fn facts(&self) -> Vec<Fact> {
        let quick = |fact: &Fact| *fact <= Fact::Replies;
        let wanted: BTreeSet<Fact> = match (self.only.is_empty(), self.level) {
            (false, _) => self.only.clone(),
            (true, Level::Quick) => Fact::ALL.into_iter().filter(quick).collect(),
            (true, _) => Fact::ALL.into_iter().collect(),
        };
        let needed = |fact: &Fact| wanted.contains(fact) || wanted.iter().any(|other| other.builds_on().contains(fact));
        Fact::ALL.into_iter().filter(needed).collect()
    }

    /// Returns how long to wait until a packet has surely arrived or is lost.
    pub fn settle(&self) -> Duration {
        (self.rtt * 3).max(Duration::from_millis(150))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fact_brings_those_that_it_builds_on() {
        let only = BTreeSet::from([Fact::RefreshByRequest]);
        let effort = Effort { only, ..Effort::of(Level::Ordinary) };
        assert_eq!(
            effort.facts(),
            [Fact::State, Fact::Id, Fact::Timeout, Fact::TimeoutAfterReply, Fact::RefreshByRequest]
        );
    }

    #[test]
    fn quick_asks_for_state_key_and_replies() {
        let facts = Effort::of(Level::Quick).facts();
        assert_eq!((facts.first(), facts.last(), facts.len()), (Some(&Fact::State), Some(&Fact::Replies), 7));
        assert_eq!(Effort::of(Level::Full).facts(), Fact::ALL);
    }
}

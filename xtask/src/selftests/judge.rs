//! Whether ping and probe met the same, and the table over all of them. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

/// How a program fared with what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fared {
    /// How many requests it sent; `None` if it did not get so far as to count.
    pub(super) sent: Option<u64>,
    /// How many of them were answered.
    pub(super) answered: Option<u64>,
    /// Whether it ended as if all was well.
    pub(super) well: bool,
}

impl Fared {
    /// Returns it in a few words.
    pub(super) fn words(&self) -> String {
        match (self.answered, self.sent) {
            (Some(answered), Some(sent)) => format!("{answered} of {sent} answered"),
            _ if self.well => "no count".to_owned(),
            _ => "an error".to_owned(),
        }
    }

    fn share(&self) -> Share {
        match (self.answered.unwrap_or(0), self.sent.unwrap_or(0)) {
            (0, _) => Share::None,
            (answered, sent) if answered >= sent => Share::All,
            _ => Share::Some,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    None,
    Some,
    All,
}

/// What became of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PingJudgement {
    /// Both met the same.
    Agreed,
    /// They did once ping had been run again: its first run changed the state that it met.
    AgreedAgain,
    /// Probe did not take the flags, and ping did.
    Refused,
    /// Probe had answers where ping had none, or all where ping lost some.
    CalledHealthy,
    /// Probe lost what ping did not.
    CalledLost,
}

impl PingJudgement {
    const ALL: [Self; 5] = [Self::Agreed, Self::AgreedAgain, Self::Refused, Self::CalledHealthy, Self::CalledLost];

    /// Returns whether both met the same.
    pub(super) fn agrees(self) -> bool {
        matches!(self, Self::Agreed | Self::AgreedAgain)
    }

    /// Returns it as notes and the table name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::AgreedAgain => "agreed with a second ping",
            Self::Refused => "refused the flags",
            Self::CalledHealthy => "called healthy though lost",
            Self::CalledLost => "called lost though healthy",
        }
    }

    /// Returns the judgement with this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|judgement| judgement.name() == name)
    }
}

/// Judges how ping and probe fared with the same flags. How many each sends in a given time is its own pace, so that only
/// none, some and all are compared.
pub(super) fn judge(ping: &Fared, probe: &Fared) -> PingJudgement {
    if probe.answered.is_none() {
        // Where ping sends nothing either, both refuse.
        return if ping.sent.is_none() && !ping.well { PingJudgement::Agreed } else { PingJudgement::Refused };
    }
    match probe.share().cmp(&ping.share()) {
        std::cmp::Ordering::Equal => PingJudgement::Agreed,
        std::cmp::Ordering::Greater => PingJudgement::CalledHealthy,
        std::cmp::Ordering::Less => PingJudgement::CalledLost,
    }
}

/// How the pings of one script came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    counts: BTreeMap<PingJudgement, usize>,
}

impl Score {
    /// Adds one comparison.
    pub(super) fn add(&mut self, judgement: PingJudgement) {
        *self.counts.entry(judgement).or_default() += 1;
    }

    /// Returns how many pings there were.
    pub(super) fn pings(&self) -> usize {
        self.counts.values().sum()
    }

    fn of(&self, judgements: &[PingJudgement]) -> usize {
        judgements.iter().filter_map(|judgement| self.counts.get(judgement)).sum()
    }

    /// Returns how many met the same as probe.
    pub(super) fn agreed(&self) -> usize {
        self.of(&[PingJudgement::Agreed, PingJudgement::AgreedAgain])
    }

    fn plus(mut self, other: &Self) -> Self {
        for (judgement, count) in &other.counts {
            *self.counts.entry(*judgement).or_default() += count;
        }
        self
    }
}

/// Returns the sum over all scripts.
pub(super) fn total<'a>(scores: impl IntoIterator<Item = &'a Score>) -> Score {
    scores.into_iter().fold(Score::default(), Score::plus)
}

/// Returns the table: a row for each script, with how it ended by its own count, and the sum.
pub(super) fn table(rows: &[(String, String, Score)]) -> String {
    let mut text = format!(
        "{:<40} {:>5} {:>6} {:>6} {:>7} {:>7} {:>5}  {}\n",
        "script", "pings", "agreed", "again", "refused", "healthy", "lost", "ended"
    );
    let sum = total(rows.iter().map(|(_, _, score)| score));
    let last = ("all".to_owned(), String::new(), sum);
    for (name, ended, score) in rows.iter().chain([&last]) {
        let count = |judgement| score.of(&[judgement]);
        let _ = writeln!(
            text,
            "{name:<40} {:>5} {:>6} {:>6} {:>7} {:>7} {:>5}  {ended}",
            score.pings(),
            score.agreed(),
            count(PingJudgement::AgreedAgain),
            count(PingJudgement::Refused),
            count(PingJudgement::CalledHealthy),
            count(PingJudgement::CalledLost),
        );
    }
    text.push_str(
        "again: of those that agreed, after ping had been run a second time; refused: probe did not take the flags; \
         healthy: called healthy though ping lost; lost: called lost though ping was healthy\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fared(sent: u64, answered: u64) -> Fared {
        Fared { sent: Some(sent), answered: Some(answered), well: answered > 0 }
    }

    const ERROR: Fared = Fared { sent: None, answered: None, well: false };

    #[test]
    fn none_some_and_all_are_told_apart_whatever_the_pace() {
        assert_eq!(judge(&fared(10, 10), &fared(20, 20)), PingJudgement::Agreed);
        assert_eq!(judge(&fared(10, 9), &fared(10, 10)), PingJudgement::CalledHealthy);
        assert_eq!(judge(&fared(1, 0), &fared(20, 1)), PingJudgement::CalledHealthy);
        assert_eq!(judge(&fared(1, 1), &fared(20, 0)), PingJudgement::CalledLost);
        assert_eq!(judge(&fared(10, 3), &fared(10, 4)), PingJudgement::Agreed);
    }

    #[test]
    fn an_error_of_both_is_agreement_and_an_error_of_probe_alone_is_not() {
        assert_eq!(judge(&ERROR, &ERROR), PingJudgement::Agreed);
        assert_eq!(judge(&ERROR, &fared(10, 0)), PingJudgement::Agreed, "the route refuses it, and probe says so");
        assert_eq!(judge(&fared(1, 0), &ERROR), PingJudgement::Refused);
        assert_eq!(judge(&fared(1, 1), &ERROR), PingJudgement::Refused);
        assert_eq!(judge(&ERROR, &fared(10, 10)), PingJudgement::CalledHealthy);
    }

    #[test]
    fn the_table_ends_with_the_sum() {
        let mut one = Score::default();
        for judgement in PingJudgement::ALL {
            assert_eq!(PingJudgement::parse(judgement.name()), Some(judgement));
            one.add(judgement);
        }
        let rows = ["a.sh", "b.sh"].map(|name| (name.to_owned(), "passed".to_owned(), one.clone()));
        let text = table(&rows);
        let last = text.lines().find(|line| line.starts_with("all")).expect("a sum");
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["all", "10", "4", "2", "2", "2", "2"]);
    }
}

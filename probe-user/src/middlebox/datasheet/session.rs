//! Which timeline comes next, until everything that was asked for is answered: a state machine without a clock.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Datasheet,
    effort::Effort,
    fact::Fact,
    finding::{FactFinding, FactValue},
    ids::FreshIds,
    known::{Ambition, KnownFacts},
    procedure::{self, Gate, ProcedureStep},
    script::{PlanBuilder, TrialPlan, Turns},
};
use crate::middlebox::timeline::{EndAddresses, PlayedTimeline, Timeline};
use crate::model::verdict::Confidence;

/// A characterization under way. [`Session::next_timeline`] says what to run, [`Session::record`] takes the outcome of
/// it, and [`Session::datasheet`] can be asked for at any time, even if a run was interrupted.
#[derive(Clone, Debug)]
pub struct Session {
    known: KnownFacts,
    ids: FreshIds,
    facts: Vec<Fact>,
    settled: BTreeSet<Fact>,
    asked: Option<TrialPlan>,
    runs: u32,
}

/// Where a characterization stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionProgress {
    /// The facts that the next timeline asks for.
    pub asking: Vec<Fact>,
    /// How many facts are answered, or will not be asked.
    pub settled: usize,
    /// How many there are.
    pub facts: usize,
    /// About how long the rest takes, the next timeline included.
    pub left: Duration,
}

/// Beyond this share of loss packets are sent more slowly: the path may limit their rate.
const MUCH_LOSS: f64 = 0.2;

/// More timelines than any characterization needs.
const MOST_RUNS: u32 = 200;

impl Session {
    /// Creates a session between `ends` within `effort`; `seed` decides the ids.
    pub fn new(ends: EndAddresses, effort: Effort, seed: u64) -> Self {
        let facts = effort.facts();
        let known = KnownFacts::new(ends, effort);
        Self { known, ids: FreshIds::new(seed), facts, settled: BTreeSet::new(), asked: None, runs: 0 }
    }

    /// Returns the next timeline, or `None` when all is answered. If called before the results of the last one are in,
    /// it plans anew.
    pub fn next_timeline(&mut self) -> Option<Timeline> {
        loop {
            self.asked = None;
            let plan = self.plan();
            if !plan.timeline.packets.is_empty() && self.runs < MOST_RUNS {
                self.runs += 1;
                let timeline = plan.timeline.clone();
                self.asked = Some(plan);
                return Some(timeline);
            }
            if self.known.ambition == Ambition::Certain || self.runs >= MOST_RUNS {
                return None;
            }
            self.known.ambition = Ambition::Certain;
            self.reopen();
        }
    }

    /// Records the outcome of the last timeline.
    pub fn record(&mut self, run: &PlayedTimeline) {
        let Some(plan) = self.asked.take() else { return };
        self.known.learn(&plan, run);
        let facts: BTreeSet<Fact> = plan.trials.iter().map(|trial| trial.fact).collect();
        facts.into_iter().for_each(|fact| self.known.count_round(fact));
    }

    /// Returns what is known so far.
    pub fn datasheet(&self) -> Datasheet {
        let finding = |fact: &Fact| match self.known.findings.get(fact) {
            // Loss is known better at the end than when a fact was settled.
            Some(finding) if finding.evidence.is_empty() => finding.clone(),
            Some(_) => self.judge(*fact),
            None => {
                let finding = self.judge(*fact);
                finding.with_note("interrupted before it was tested")
            }
        };
        Datasheet::new(&self.known, self.facts.iter().map(finding).collect())
    }

    /// Returns how far the session has come.
    pub fn progress(&self) -> SessionProgress {
        let asking: BTreeSet<Fact> = self.asked.iter().flat_map(|plan| &plan.trials).map(|trial| trial.fact).collect();
        let open = self.facts.iter().filter(|fact| !self.settled.contains(fact));
        let now = self.asked.as_ref().map_or(Duration::ZERO, |plan| plan.timeline.length());
        // The two lifetimes are measured at once, and so are the two ways to prolong them; the rest one after another.
        let at_once = |fact: &Fact| match fact {
            Fact::Timeout | Fact::TimeoutAfterReply => 1,
            Fact::RefreshByRequest | Fact::RefreshByReply => 2,
            _ => 0,
        };
        let mut later = [Duration::ZERO; 3];
        for fact in open.filter(|fact| !asking.contains(fact)) {
            let takes = (procedure::of(*fact).takes)(&self.known);
            let slot = at_once(fact);
            later[slot] = if slot == 0 { later[slot] + takes } else { later[slot].max(takes) };
        }
        let left = now + later.iter().sum::<Duration>();
        SessionProgress {
            asking: asking.into_iter().collect(),
            settled: self.settled.len(),
            facts: self.facts.len(),
            left,
        }
    }

    fn plan(&mut self) -> TrialPlan {
        let settle = self.known.effort.settle();
        let mut ids = self.ids.clone();
        let mut script = PlanBuilder::new(&mut ids, self.rate(), settle);
        let facts = self.facts.clone();
        for fact in facts {
            if self.settled.contains(&fact) || !self.can_start(fact) {
                continue;
            }
            let procedure = procedure::of(fact);
            script.take(if self.known.is(Fact::Id, &FactValue::Yes) { Turns::Overlap } else { Turns::OneByOne });
            let alone = match (procedure.gate)(&self.known) {
                Gate::Shut(why) => {
                    self.settle(fact, FactFinding::not_tested(fact, why));
                    continue;
                }
                Gate::Alone if !script.is_empty() => continue,
                gate => gate == Gate::Alone,
            };
            let before = script.bookmark();
            match (procedure.plan)(&self.known, &mut script) {
                ProcedureStep::Settled => {
                    let finding = self.judge(fact);
                    self.settle(fact, finding);
                }
                // It waits for the next timeline if this one has no room for it.
                ProcedureStep::Asked if script.is_full() && !alone => script.back_to(before),
                ProcedureStep::Asked if alone => break,
                ProcedureStep::Asked => {}
            }
        }
        let plan = script.finish(settle + Duration::from_millis(350));
        self.ids = ids;
        plan
    }

    /// Returns the rate in packets a second: lower if so much is lost that the path may limit the rate.
    fn rate(&self) -> u32 {
        let KnownFacts { effort, loss, .. } = &self.known;
        let limited = loss.trips > 10 && loss.measured() > MUCH_LOSS;
        if limited { (effort.rate / 4).max(5) } else { effort.rate }
    }

    fn can_start(&self, fact: Fact) -> bool {
        let open = |other: &Fact| self.facts.contains(other) && !self.settled.contains(other);
        !fact.builds_on().iter().any(open)
            && match fact {
                // It asks from the second address, which would open what these try.
                Fact::Nat => ![Fact::Source, Fact::Destination].iter().any(open),
                // The far end asks for the first time in the course of the roles.
                Fact::BothEnds => !open(&Fact::Roles),
                // Facts that take minutes come after all that take seconds, in case the run is interrupted.
                Fact::Timeout | Fact::TimeoutAfterReply => {
                    !Fact::ALL.iter().any(|other| *other < Fact::Timeout && open(other))
                }
                // It needs the wire for itself.
                Fact::Rate => !Fact::ALL.iter().any(|other| *other != fact && open(other)),
                _ => true,
            }
    }

    fn settle(&mut self, fact: Fact, finding: FactFinding) {
        self.known.findings.insert(fact, finding);
        self.settled.insert(fact);
    }

    /// Judges a fact by its votes and the loss known so far, no surer than the answers that it builds on.
    fn judge(&self, fact: Fact) -> FactFinding {
        let finding = (procedure::of(fact).judge)(&self.known);
        let settled = fact.builds_on().iter().filter(|need| self.known.findings.contains_key(need));
        let premises = settled.map(|need| self.judge(*need));
        let known = premises.filter(|premise| premise.value.is_known()).map(|premise| premise.confidence);
        let confidence = known.fold(finding.confidence, Confidence::min);
        FactFinding { confidence, ..finding }
    }

    /// Reopens facts that more trials could make certain.
    fn reopen(&mut self) {
        for fact in &self.facts {
            let finding = self.judge(*fact);
            let asked = self.known.round(*fact) > 0;
            if asked && finding.confidence < Confidence::Certain {
                self.settled.remove(fact);
            }
        }
    }
}

//! The procedures: for each fact when it may be tested, how, and what the counts show.

mod addresses;
mod arms;
mod both_ends;
mod code;
mod errors;
mod key;
mod lifetime;
mod nat;
mod rate;
mod refresh;
mod replies;
mod roles;
mod size;
mod state;
mod timeout;
mod unsolicited;

use std::time::Duration;

use super::{
    fact::Fact,
    finding::{FactFinding, FactValue},
    known::KnownFacts,
    script::PlanBuilder,
};

/// How one fact is tested. All of it is pure.
#[derive(Clone, Copy)]
pub(super) struct Procedure {
    /// Decides whether it may be tested, given what it builds on.
    pub(super) gate: fn(&KnownFacts) -> Gate,
    /// Writes the next trials into a script.
    pub(super) plan: fn(&KnownFacts, &mut PlanBuilder<'_>) -> ProcedureStep,
    /// Judges the votes so far.
    pub(super) judge: fn(&KnownFacts) -> FactFinding,
    /// Estimates how long the rest of it takes.
    pub(super) takes: fn(&KnownFacts) -> Duration,
}

/// Whether a fact may be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes, together with others.
    Open,
    /// Yes, with nothing else on the wire.
    Alone,
    /// No, for this reason.
    Shut(String),
}

/// The result of planning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcedureStep {
    /// It added trials.
    Asked,
    /// It needs no more trials.
    Settled,
}

/// Returns the procedure for a fact.
pub(super) fn of(fact: Fact) -> Procedure {
    match fact {
        Fact::State => state::PROCEDURE,
        Fact::Id => key::ID,
        Fact::Seq => key::SEQ,
        Fact::Code => code::PROCEDURE,
        Fact::Source => addresses::SOURCE,
        Fact::Destination => addresses::DESTINATION,
        Fact::Replies => replies::PROCEDURE,
        Fact::BothEnds => both_ends::PROCEDURE,
        Fact::Unsolicited => unsolicited::PROCEDURE,
        Fact::Errors => errors::PROCEDURE,
        Fact::Nat => nat::PROCEDURE,
        Fact::Size => size::PROCEDURE,
        Fact::Roles => roles::PROCEDURE,
        Fact::Timeout => timeout::AFTER_REQUEST,
        Fact::TimeoutAfterReply => timeout::AFTER_REPLY,
        Fact::RefreshByRequest => refresh::BY_REQUEST,
        Fact::RefreshByReply => refresh::BY_REPLY,
        Fact::Rate => rate::PROCEDURE,
    }
}

/// Opens once requests are known to reach the far end.
fn reached(known: &KnownFacts) -> Gate {
    if known.reaches() { Gate::Open } else { Gate::Shut("no request from the near end reached the far end".to_owned()) }
}

/// Opens once the box is known to keep state for requests.
fn remembered(known: &KnownFacts) -> Gate {
    match known.answer(Fact::State) {
        Some(FactValue::Yes) => Gate::Open,
        Some(FactValue::No) => Gate::Shut("no state is kept for requests".to_owned()),
        _ => Gate::Shut("it is not known whether state is kept for requests".to_owned()),
    }
}

/// Estimates a few seconds, for facts that take one short run.
fn seconds(_known: &KnownFacts) -> Duration {
    Duration::from_secs(2)
}

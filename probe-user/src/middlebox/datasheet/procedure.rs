//! The procedures: for each fact when it may be asked, how, and what the counts say.

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

/// How one fact is found out. All of it is pure.
#[derive(Clone, Copy)]
pub(super) struct Procedure {
    /// Whether it may be asked, given what it builds on.
    pub(super) gate: fn(&KnownFacts) -> Gate,
    /// Writes the next trials into a script.
    pub(super) plan: fn(&KnownFacts, &mut PlanBuilder<'_>) -> ProcedureStep,
    /// What the votes so far say.
    pub(super) judge: fn(&KnownFacts) -> FactFinding,
    /// About how long what is left of it takes.
    pub(super) takes: fn(&KnownFacts) -> Duration,
}

/// Whether a fact may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes, together with others.
    Open,
    /// Yes, with nothing else on the wire.
    Alone,
    /// No, for this reason.
    Shut(String),
}

/// What a procedure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcedureStep {
    /// It wrote trials.
    Asked,
    /// It has what it wants.
    Settled,
}

/// The procedure of a fact.
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

/// Open where requests reach the far end at all.
fn reached(known: &KnownFacts) -> Gate {
    if known.reaches() { Gate::Open } else { Gate::Shut("no request of the near end reached the far end".to_owned()) }
}

/// Open where something is remembered of requests.
fn remembered(known: &KnownFacts) -> Gate {
    match known.answer(Fact::State) {
        Some(FactValue::Yes) => Gate::Open,
        Some(FactValue::No) => Gate::Shut("nothing is remembered of requests".to_owned()),
        _ => Gate::Shut("it is not known whether anything is remembered of requests".to_owned()),
    }
}

/// A few seconds, for what is asked in one short run.
fn seconds(_known: &KnownFacts) -> Duration {
    Duration::from_secs(2)
}

//! An answer as a person reads it: one clause, which follows the fact's name.

use super::{
    answer::{FactValue, IdPolicy, Rewriting},
    fact::Fact,
};

/// Returns an answer in words.
pub(super) fn answer(fact: Fact, answer: &FactValue) -> String {
    match answer {
        FactValue::Yes => yes(fact).to_owned(),
        FactValue::No => no(fact).to_owned(),
        FactValue::ZeroOnly => "must be 0: packets with another code do not pass".to_owned(),
        FactValue::Partly => "checked in part: one change of code passes, the other does not".to_owned(),
        FactValue::Between { low, high } => {
            let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
            format!("{middle:.1} s (± {half:.2} s)")
        }
        FactValue::Beyond { low } => format!("longer than {low:.0} s"),
        FactValue::Under { high } => format!("shorter than {high:.1} s"),
        FactValue::Until { low, high } => {
            format!("yes, but not beyond {low:.1} to {high:.1} s after the request")
        }
        FactValue::Limit { replies: 1 } => "one: the first reply removes the state".to_owned(),
        FactValue::Limit { replies } => format!("{replies}"),
        FactValue::Unlimited { tried } if fact == Fact::Rate => format!("no limit up to {tried} requests a second"),
        FactValue::Unlimited { tried } => format!("no limit: all {tried} that were tried passed"),
        FactValue::Independent => "yes, the two pings do not affect each other".to_owned(),
        FactValue::FarMayNotAsk => "requests from the far end are stopped".to_owned(),
        FactValue::OpensForRequests => {
            "requests from the far end pass if they use an id of a request from the near end".to_owned()
        }
        FactValue::Collides => "no, one ping breaks the other".to_owned(),
        FactValue::Errors { about_seen, about_unseen, state_lives } => errors(*about_seen, *about_unseen, *state_lives),
        FactValue::Nat { address, id } => nat(*address, *id),
        FactValue::Rate { free, limited, sustained, burst } => {
            format!(
                "limited: {free} a second pass, {limited} do not; {sustained} a second sustained, bursts of {burst}"
            )
        }
        FactValue::Sizes { request, reply, tried } if request == reply && request == tried => {
            format!("all pass, fragments included (up to {tried} bytes)")
        }
        FactValue::Sizes { request, reply, .. } if request == reply => format!("up to {request} bytes"),
        FactValue::Sizes { request, reply, .. } => format!("requests up to {request} bytes, replies up to {reply}"),
        FactValue::NothingRemembered => "no state is kept: unsolicited replies from the near end pass".to_owned(),
        FactValue::Same => "the same".to_owned(),
        FactValue::Different => "the key has other fields than in this direction".to_owned(),
        FactValue::Inconclusive => "inconclusive".to_owned(),
        FactValue::NotTested => "not tested".to_owned(),
    }
}

fn yes(fact: Fact) -> &'static str {
    match fact {
        Fact::State => "yes, unsolicited replies are stopped",
        Fact::Id => "part of the key: another id is stopped",
        Fact::Seq => "part of the key: another sequence number is stopped",
        Fact::Code => "part of the key: another code is stopped",
        Fact::Source => "part of the key: a reply from another address is stopped",
        Fact::Destination => "part of the key: a reply to another address is stopped",
        Fact::Unsolicited => "yes, an unsolicited reply lets a reply in the other direction pass",
        Fact::RefreshByRequest | Fact::RefreshByReply => "yes, it restarts the timeout",
        _ => "yes",
    }
}

fn no(fact: Fact) -> &'static str {
    match fact {
        Fact::State => "no, unsolicited replies pass",
        Fact::Id | Fact::Seq | Fact::Code | Fact::Source | Fact::Destination => "ignored: any passes",
        Fact::Unsolicited => "no, only a request creates state",
        Fact::RefreshByRequest | Fact::RefreshByReply => "no, the timeout stays as it was",
        _ => "no",
    }
}

fn errors(about_seen: bool, about_unseen: bool, state_lives: bool) -> String {
    let passing = match (about_seen, about_unseen) {
        (true, true) => "all pass, even about requests that were never sent",
        (true, false) => "those about a request that was sent pass, others do not",
        (false, true) => "only those about requests that were never sent pass",
        (false, false) => "none pass",
    };
    let after = if state_lives { "the reply still passes afterwards" } else { "the reply is stopped afterwards" };
    format!("{passing}; {after}")
}

fn nat(address: Rewriting, id: IdPolicy) -> String {
    let id = match id {
        IdPolicy::Kept => "id kept".to_owned(),
        IdPolicy::KeptWhereFree => "id kept if it is free, otherwise changed".to_owned(),
        IdPolicy::Overloaded => "id kept, although two inner hosts then share it".to_owned(),
        IdPolicy::Random => "id random".to_owned(),
        IdPolicy::Range { low, high } => format!("id from a narrow range ({low} to {high} were seen)"),
    };
    match address {
        Rewriting::Kept => format!("address kept, {id}"),
        Rewriting::Rewritten => format!("address rewritten, {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_clauses() {
        let is = |fact, value: FactValue, text: &str| assert_eq!(answer(fact, &value), text);
        is(Fact::Timeout, FactValue::Between { low: 29.9, high: 30.2 }, "30.0 s (± 0.15 s)");
        is(Fact::Replies, FactValue::Limit { replies: 1 }, "one: the first reply removes the state");
        is(Fact::Rate, FactValue::Unlimited { tried: 100 }, "no limit up to 100 requests a second");
        let sizes = FactValue::Sizes { request: 4000, reply: 4000, tried: 4000 };
        is(Fact::Size, sizes, "all pass, fragments included (up to 4000 bytes)");
        is(Fact::State, FactValue::No, "no, unsolicited replies pass");
    }
}

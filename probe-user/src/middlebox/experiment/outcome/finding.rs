//! The finding in words: what left one NIC and what reached the other, and what follows from the difference.

use super::{StepOutcome, StepResult};
use crate::middlebox::{
    experiment::script::{Expect, Script, ScriptPacket, Sends, StepRole},
    timeline::Endpoint,
};

/// What the two ends are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndNames {
    /// The end where the user types.
    pub near: String,
    /// The peer.
    pub far: String,
}

impl EndNames {
    /// The name of one end.
    pub fn of(&self, side: Endpoint) -> &str {
        match side {
            Endpoint::Near => &self.near,
            Endpoint::Far => &self.far,
        }
    }
}

/// A step that sends, with its outcome.
type Told<'a> = (&'a Sends, &'a StepOutcome);

/// What follows from all steps.
pub(super) fn find(script: &Script, outcomes: &[StepOutcome], names: &EndNames) -> String {
    let told: Vec<Told<'_>> = script.sends().map(|(_, sends)| sends).zip(outcomes).collect();
    if let Some(unsent) = told.iter().find(|(_, outcome)| outcome.fate == StepResult::Unsent) {
        return unsent_packet(unsent, names);
    }
    if let Some(lost) = told.iter().find(|told| is_broken_way(told)) {
        return format!(
            "Nothing can be concluded: {}. What is measured here must pass for the rest to mean anything; probe \
             diagnose says where it stops.",
            sentence(lost, names)
        );
    }
    let mut sentences = Vec::new();
    for case in told.iter().filter(|(sends, _)| sends.role == StepRole::Case) {
        sentences.push(capital(&format!("{}{}.", sentence(case, names), contrast(case, &told, names))));
        sentences.push(meaning(case));
    }
    sentences.extend(told.iter().filter(|told| is_open_door(told)).map(|told| open_door(told, names)));
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// What must arrive for anything to be concluded, and did not.
fn is_broken_way((sends, outcome): &Told<'_>) -> bool {
    sends.role != StepRole::Case && sends.expect == Expect::Arrives && outcome.fate != StepResult::Arrived
}

/// What must not arrive, by a control, and did.
fn is_open_door((sends, outcome): &Told<'_>) -> bool {
    sends.role == StepRole::Control && sends.expect == Expect::Stops && outcome.fate != StepResult::Stopped
}

fn open_door(told: &Told<'_>, names: &EndNames) -> String {
    let (sends, outcome) = told;
    if outcome.fate == StepResult::Arrived {
        let said = sends.means.arrives.clone();
        return said.unwrap_or_else(|| {
            format!(
                "But {}, and nobody had asked for it: nothing between the two NICs keeps a reply out for want of a \
                 request.",
                sentence(told, names)
            )
        });
    }
    format!("Be careful: {}, which a box that remembers would always stop.", sentence(told, names))
}

fn unsent_packet((sends, outcome): &Told<'_>, names: &EndNames) -> String {
    let why = outcome.votes.iter().find_map(|vote| vote.trouble.clone()).unwrap_or_else(|| "unknown".to_owned());
    format!("Nothing can be concluded: {} of {} did not leave it: {why}.", what(sends), names.of(sends.from))
}

/// `reply Y left b's NIC and never reached a's (0 of 3)`.
fn sentence((sends, outcome): &Told<'_>, names: &EndNames) -> String {
    let (from, to) = (names.of(sends.from), names.of(sends.from.other()));
    let (went, arrived) = outcome.packets();
    match outcome.fate {
        StepResult::Arrived if arrived == went => format!("{} reached {to}'s NIC ({arrived} of {went})", what(sends)),
        StepResult::Arrived => format!("{} reached {to}'s NIC, but for some ({arrived} of {went})", what(sends)),
        StepResult::Stopped if arrived == 0 => {
            format!("{} left {from}'s NIC and never reached {to}'s ({arrived} of {went})", what(sends))
        }
        StepResult::Stopped => {
            format!("{} left {from}'s NIC and mostly did not reach {to}'s ({arrived} of {went})", what(sends))
        }
        StepResult::Partly | StepResult::Divided => {
            format!("of {}, {arrived} of {went} reached {to}'s NIC", what(sends))
        }
        StepResult::Unsent => format!("{} did not leave {from}", what(sends)),
    }
}

/// The controls of the same direction and kind that fared otherwise: only what differs can be the reason.
fn contrast(case: &Told<'_>, told: &[Told<'_>], names: &EndNames) -> String {
    let (sends, outcome) = case;
    let other = |(control, fared): &&Told<'_>| {
        control.role == StepRole::Control
            && control.from == sends.from
            && control.packet == sends.packet
            && fared.fate != outcome.fate
            && matches!(fared.fate, StepResult::Arrived | StepResult::Stopped)
    };
    match told.iter().find(other) {
        Some(control) => format!("; the control, {}, in the same second", sentence(control, names)),
        None => String::new(),
    }
}

fn meaning((sends, outcome): &Told<'_>) -> String {
    let said = match outcome.fate {
        StepResult::Arrived => sends.means.arrives.clone(),
        StepResult::Stopped => sends.means.stops.clone(),
        StepResult::Partly => Some("Some passed and some did not: a limit in number or rate, or loss.".to_owned()),
        StepResult::Divided => Some("The repetitions do not agree: repeat it more often.".to_owned()),
        StepResult::Unsent => None,
    };
    said.unwrap_or_default()
}

fn what(sends: &Sends) -> String {
    match (sends.count, sends.packet) {
        (1, packet) => format!("{} {}", packet.name(), sends.id),
        (count, ScriptPacket::Reply) => format!("{count} replies {}", sends.id),
        (count, packet) => format!("{count} {}s {}", packet.name(), sends.id),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

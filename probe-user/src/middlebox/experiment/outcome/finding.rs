//! The finding in words: what left one NIC and what reached the other, and what follows from the difference.

use super::{StepOutcome, StepResult};
use crate::middlebox::{
    experiment::script::{Expect, Script, ScriptPacket, Sends, StepRole},
    timeline::Endpoint,
};

/// The names of the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndNames {
    /// The end at which the user works.
    pub near: String,
    /// The peer.
    pub far: String,
}

impl EndNames {
    /// Returns the name of one end.
    pub fn of(&self, side: Endpoint) -> &str {
        match side {
            Endpoint::Near => &self.near,
            Endpoint::Far => &self.far,
        }
    }
}

/// A step that sends, with its outcome.
type PlayedStep<'a> = (&'a Sends, &'a StepOutcome);

/// Concludes what follows from all steps.
pub(super) fn find(script: &Script, outcomes: &[StepOutcome], names: &EndNames) -> String {
    let steps: Vec<PlayedStep<'_>> = script.sends().map(|(_, sends)| sends).zip(outcomes).collect();
    if let Some(unsent) = steps.iter().find(|(_, outcome)| outcome.disposition == StepResult::Unsent) {
        return unsent_packet(unsent, names);
    }
    if let Some(lost) = steps.iter().find(|step| is_broken_way(step)) {
        return format!(
            "Nothing can be concluded: {}. This packet must pass for the other steps to mean anything; run probe \
             diagnose to see where it stops.",
            sentence(lost, names)
        );
    }
    let mut sentences = Vec::new();
    for case in steps.iter().filter(|(sends, _)| sends.role == StepRole::Case) {
        sentences.push(capital(&format!("{}{}.", sentence(case, names), contrast(case, &steps, names))));
        sentences.push(meaning(case));
    }
    sentences.extend(steps.iter().filter(|step| is_open_door(step)).map(|step| open_door(step, names)));
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// Returns whether a packet that must arrive for any conclusion did not.
fn is_broken_way((sends, outcome): &PlayedStep<'_>) -> bool {
    sends.role != StepRole::Case && sends.expect == Expect::Arrives && outcome.disposition != StepResult::Arrived
}

/// Returns whether a control that must be stopped arrived.
fn is_open_door((sends, outcome): &PlayedStep<'_>) -> bool {
    sends.role == StepRole::Control && sends.expect == Expect::Stops && outcome.disposition != StepResult::Stopped
}

fn open_door(step: &PlayedStep<'_>, names: &EndNames) -> String {
    let (sends, outcome) = step;
    if outcome.disposition == StepResult::Arrived {
        let said = sends.means.arrives.clone();
        return said.unwrap_or_else(|| {
            format!(
                "But {}, although it was unsolicited: nothing between the two NICs stops a reply for lack of a request.",
                sentence(step, names)
            )
        });
    }
    format!("Be careful: {}, which a stateful box would always stop.", sentence(step, names))
}

fn unsent_packet((sends, outcome): &PlayedStep<'_>, names: &EndNames) -> String {
    let why = outcome.votes.iter().find_map(|vote| vote.trouble.clone()).unwrap_or_else(|| "unknown".to_owned());
    format!("Nothing can be concluded: {} of {} did not leave it: {why}.", what(sends), names.of(sends.from))
}

/// Writes a sentence such as `reply Y left b's NIC and never reached a's (0 of 3)`.
fn sentence((sends, outcome): &PlayedStep<'_>, names: &EndNames) -> String {
    let (from, to) = (names.of(sends.from), names.of(sends.from.other()));
    let (went, arrived) = outcome.packets();
    match outcome.disposition {
        StepResult::Arrived if arrived == went => format!("{} reached {to}'s NIC ({arrived} of {went})", what(sends)),
        StepResult::Arrived => format!("{} mostly reached {to}'s NIC ({arrived} of {went})", what(sends)),
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

/// Describes the controls of the same direction and kind that ended otherwise: only what differs can be the reason.
fn contrast(case: &PlayedStep<'_>, steps: &[PlayedStep<'_>], names: &EndNames) -> String {
    let (sends, outcome) = case;
    let other = |(control, result): &&PlayedStep<'_>| {
        control.role == StepRole::Control
            && control.from == sends.from
            && control.packet == sends.packet
            && result.disposition != outcome.disposition
            && matches!(result.disposition, StepResult::Arrived | StepResult::Stopped)
    };
    match steps.iter().find(other) {
        Some(control) => format!("; the control, {}, in the same second", sentence(control, names)),
        None => String::new(),
    }
}

fn meaning((sends, outcome): &PlayedStep<'_>) -> String {
    let said = match outcome.disposition {
        StepResult::Arrived => sends.means.arrives.clone(),
        StepResult::Stopped => sends.means.stops.clone(),
        StepResult::Partly => Some("Some passed and some did not: a limit in number or rate, or loss.".to_owned()),
        StepResult::Divided => Some("The repetitions do not agree: run more of them with --repeat.".to_owned()),
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

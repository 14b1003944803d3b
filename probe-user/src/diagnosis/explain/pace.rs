//! Loss that our own pace makes: what lets only so many pass in a time.

use super::{StopCase, StopExplanation};
use crate::diagnosis::{control::ControlKind, document::Layer, places::DropPoint};

/// Explains a stop of some probes where packets at ping's pace all passed.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let control = case.evidence.controls.iter().find(|control| matches!(control.kind, ControlKind::Pace { .. }))?;
    let limits = case.stop.layer == Layer::Netfilter || case.stop.place == DropPoint::RateLimit;
    (control.passed() && limits && case.stop.packets < case.evidence.sent()).then_some(())?;
    let rule = case.stop.cause.detail.clone();
    let limit = "a limit: at one a second, as ping sends them, they pass".to_owned();
    Some(StopExplanation {
        detail: Some(rule.map_or_else(|| limit.clone(), |rule| format!("{limit}; {rule}"))),
        meaning:
            "Only so many packets may pass in a time, and the probes came faster than that. A ping at its own pace is \
                  healthy; run with -i 1.1 -c 4 to see it."
                .to_owned(),
        commands: Vec::new(),
        ..StopExplanation::default()
    })
}

//! What the reverse path filter looked up, and which setting made it decide.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{places::DropPoint, rules::routing::choice_for},
    model::trace::Finding,
};

/// Explains a stop if the way back to the source leads to another device than the one at which packets came in, or
/// nowhere.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::RouteIn)?;
    let events = case.gap.events(case.evidence);
    let event = events.iter().find(|event| event.drop.reason == "IP_RPFILTER")?;
    let (drop, device) = (event.drop, event.drop.interface.as_deref()?);
    let choice = choice_for(drop, event.spot?, case.evidence)?;
    let setting = |at: &str| -> u32 {
        let path = format!("net/ipv4/conf/{at}/rp_filter");
        let found = case.evidence.findings(side).find_map(|finding| match finding {
            Finding::Setting { path: found, value } if *found == path => value.trim().parse().ok(),
            _ => None,
        });
        found.unwrap_or(0)
    };
    // The larger of the two decides (`IN_DEV_RPFILTER`).
    let (all, own) = (setting("all"), setting(device));
    let decides = if all > own { "all" } else { device };
    let mode = if all.max(own) == 2 { "loose" } else { "strict" };
    let mark = drop.frame.mark;
    let unmarked = mark != 0 && choice.mark == 0;
    let without = if unmarked { format!(" looked up without their mark {mark:#x}") } else { String::new() };
    let leads = match (&choice.ends, &choice.interface) {
        (Some(why), _) => format!("leads nowhere ({why})"),
        (None, Some(other)) if other == device => return None,
        (None, Some(other)) => format!("leads to {other}"),
        (None, None) => return None,
    };
    let source = drop.source;
    let way = if without.is_empty() { "the way back".to_owned() } else { format!("the way back,{without},") };
    let mut commands = vec![
        format!("ip {} route get {source}", case.ip_version()),
        format!("sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.{}.rp_filter", dotted(device)),
    ];
    if unmarked {
        commands.insert(0, format!("sysctl -w net.ipv4.conf.{}.src_valid_mark=1", dotted(device)));
    }
    commands.insert(usize::from(unmarked), format!("sysctl -w net.ipv4.conf.{}.rp_filter=2", dotted(decides)));
    if mode == "loose" {
        commands.remove(usize::from(unmarked));
    }
    let mend = match (unmarked, mode) {
        (true, _) => {
            "With src_valid_mark=1 the filter takes the mark into account; with rp_filter=2 any route back is enough."
        }
        (false, "strict") => {
            "With rp_filter=2 any route back is enough; a route back through this device helps as \
             well."
        }
        _ => "The filter is loose, and there is no route back at all: add one.",
    };
    Some(StopExplanation {
        detail: Some(format!("{mode} rp_filter at {device}: {way} to {source} {leads}")),
        meaning: format!(
            "They came in by {device}; the way back to {source}{without} {leads}: {}. net.ipv4.conf.{}.rp_filter={} decides. \
             {mend}",
            choice.text(),
            dotted(decides),
            all.max(own)
        ),
        commands,
        ..StopExplanation::default()
    })
}

/// Returns an interface's name as part of a sysctl name: sysctl(8) takes `/` for a dot in it.
fn dotted(interface: &str) -> String {
    interface.replace('.', "/")
}

//! From a stop to what it means, and what to type: a table.

pub mod table;

use super::{
    Evidence,
    document::{Cause, Command, Confidence, Stop, StopHost},
    path::Side,
    places::{Whose, host_of},
};
use crate::model::{
    netfilter::{NetfilterHook, TableFamily},
    trace::{Drop, Finding},
};
use table::{Advice, TABLE};

/// Fills in what the stop means, and what to do about it.
pub fn give(stop: &mut Stop, evidence: &Evidence) {
    let place = stop.place;
    let reason = stop.cause.reason.clone().unwrap_or_default();
    let fits = |row: &&Advice| {
        (row.place.is_empty() || row.place.contains(&place)) && (row.reason.is_empty() || fits(row.reason, &reason))
    };
    if stop.confidence == Confidence::Unknown && stop.cause.reason.is_none() {
        return leave_open(stop, evidence);
    }
    let Some(row) = TABLE.iter().find(fits) else { return };
    let side = stop.whose.side();
    let device = side.map(|side| device(stop, side, evidence));
    let fill = |text: &str| filled(text, side, device, &stop.cause, evidence);
    stop.meaning = fill(row.meaning);
    if stop.host == StopHost::Beyond && stop.cause.icmp.is_none() {
        "One end cannot tell a lost request from a lost reply; the far end can.".clone_into(&mut stop.meaning);
    }
    let on = if matches!(stop.host, StopHost::Network | StopHost::Beyond) { Some(Side::Local) } else { side };
    let command = |text: &str| in_place(on, fill(text), evidence);
    let known = |command: &Command| !command.command.contains('{');
    let mut commands: Vec<Command> = row.commands.iter().map(|text| command(text)).filter(known).collect();
    if let Some(command) = find_out(stop, side, evidence) {
        // What one end can't know comes before what it can look at.
        let place = if stop.host == StopHost::Beyond { 0 } else { commands.len() };
        commands.insert(place, command);
    }
    put(stop, commands, on, evidence);
}

/// Gives `commands` instead of the table's, but keeps those that find out more: the rule, or from the far end.
/// `elsewhere`: on another host than where they stop.
pub fn replace(stop: &mut Stop, commands: &[String], elsewhere: Option<Side>, evidence: &Evidence) {
    let side = elsewhere.or_else(|| stop.whose.side());
    let far = elsewhere.is_none() && matches!(stop.host, StopHost::Network | StopHost::Beyond);
    let on = if far { Some(Side::Local) } else { side };
    let commands = commands.iter().map(|command| in_place(on, command.clone(), evidence)).collect();
    put(stop, commands, on, evidence);
}

/// Sets the stop's `commands`, the first of which is its advice; without any, the meaning is.
fn put(stop: &mut Stop, commands: Vec<Command>, on: Option<Side>, evidence: &Evidence) {
    stop.commands = commands;
    stop.advice = match (stop.commands.first(), on) {
        (Some(first), Some(_)) => format!("on {}: {}", evidence.name(first.on.unwrap_or(Side::Local)), first.command),
        (Some(first), None) => first.command.clone(),
        (None, _) => stop.meaning.clone(),
    };
}

/// Returns a command after the prefix that enters its place; probe's own commands have a flag for that.
pub(super) fn behind(enter: Option<&str>, command: &str) -> String {
    match enter.filter(|_| !command.starts_with("probe diagnose ")) {
        Some(enter) => format!("{enter} {command}"),
        None => command.to_owned(),
    }
}

/// Returns a command for a place: one in between is entered from the host whose kernel has it.
fn in_place(on: Option<Side>, command: String, evidence: &Evidence) -> Command {
    let Some(side) = on else { return Command { on, command } };
    let (on, enter) = evidence.entered(side);
    Command { on: Some(on), command: behind(enter, &command) }
}

/// Advises, if several causes remain, how to make the blind hops see, or else where to look in general.
fn leave_open(stop: &mut Stop, evidence: &Evidence) {
    "What was watched leaves several possible causes.".clone_into(&mut stop.meaning);
    let mut sides: Vec<Side> = stop.blind.iter().map(|spot| spot.checkpoint.host).collect();
    sides.sort_unstable();
    sides.dedup();
    let doctor = |side| in_place(Some(side), "probe doctor".to_owned(), evidence);
    stop.commands = sides.into_iter().map(doctor).collect();
    if stop.commands.is_empty() {
        let side = stop.first_missing.host;
        let device = evidence.interface(side);
        let look = [format!("tc -s filter show dev {device} ingress"), "nft list ruleset".into(), "nstat -az".into()];
        stop.commands = look.map(|command| in_place(Some(side), command, evidence)).into();
    }
    if let Some(Command { on: Some(side), command }) = stop.commands.first() {
        stop.advice = format!("on {}: {command}", evidence.name(*side));
    }
}

/// Reports whether `name` fits a pattern that may begin and end in `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (None, None) => pattern == name,
        (None, Some(begin)) => name.starts_with(begin),
        (Some(end), None) => name.ends_with(end),
        (Some(rest), Some(_)) => name.contains(rest.trim_end_matches('*')),
    }
}

/// Returns how to learn more: an exact rule, or what one end can't know.
fn find_out(stop: &Stop, side: Option<Side>, evidence: &Evidence) -> Option<Command> {
    let (target, typed) = (&evidence.target.name, evidence.typed());
    let traced = |finding: &Finding| matches!(finding, Finding::Rule { leg, .. } if *leg == stop.leg);
    let rule = stop.cause.netfilter.is_some() && side.is_some_and(|side| !evidence.findings(side).any(traced));
    // One flag makes every command a prefix.
    let agent = if evidence.flags.iter().any(|flag| flag == "--deploy") { "" } else { " probe agent" };
    let command = match (stop.host, rule) {
        (StopHost::Beyond, _) if evidence.layer.is_none() => {
            format!("probe diagnose {typed} --peer 'ssh {target} sudo{agent}'")
        }
        // Rules are traced for echo packets, not for those that carry them.
        (_, true) if evidence.layer.is_none() => {
            // They are traced where an agent runs, so the far one must be there again.
            let from = side.map(|side| evidence.entered_from(side));
            let forwards = || evidence.forwarding_peer.and_then(|number| evidence.own_place(number));
            let far = from.is_some_and(|from| from == Side::Peer || Some(from) == forwards());
            let reached = evidence.far_flags.iter().filter(|_| far).map(|flag| format!(" {flag}"));
            format!("probe diagnose {typed} --trace-rules{}", reached.collect::<String>())
        }
        _ => return None,
    };
    Some(Command { on: Some(Side::Local), command })
}

/// Returns the device at which packets stop: in a place in between, the one at which the kernel freed them, if it says
/// so.
fn device<'a>(stop: &Stop, side: Side, evidence: &'a Evidence) -> &'a str {
    let cause = &stop.cause;
    // The kernel may give no reasons.
    let is_its = |reason: &String| cause.reason.as_ref().is_none_or(|known| known == reason);
    let same = |drop: &&Drop| is_its(&drop.reason) && Some(&drop.function) == cause.function.as_ref();
    let freed = evidence.drops(side).iter().filter(|drop| drop.leg == stop.leg).find(same);
    let at = freed.filter(|_| evidence.place(side).is_some()).and_then(|drop| drop.interface.as_deref());
    at.unwrap_or_else(|| evidence.interface(side))
}

/// Returns `text` with its words in braces replaced; one that is not known stays, so that its command is left out.
fn filled(text: &str, side: Option<Side>, device: Option<&str>, cause: &Cause, evidence: &Evidence) -> String {
    let mut text = text.to_owned();
    let mut put = |word: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text = text.replace(word, value);
        }
    };
    let target = evidence.target.address;
    let has_it = |side| evidence.findings(side).any(|finding| matches!(finding, Finding::Address { own: true, .. }));
    let other = match side.map(host_of) {
        Some(Whose::Peer) => evidence.local.host.address,
        // A place in between may be where the target is.
        Some(Whose::Via(_)) if side.is_some_and(has_it) => evidence.local.host.address.or(Some(target)),
        _ => Some(target),
    };
    let netfilter = cause.netfilter.as_ref();
    let icmp = cause.icmp.as_ref();
    put("{other}", other.map(|address| address.to_string()).as_deref());
    put("{typed}", Some(&evidence.typed()));
    put("{target}", Some(&evidence.target.address.to_string()));
    put("{iface}", device);
    put("{family}", netfilter.and_then(|place| place.family.map(TableFamily::name)));
    put("{table}", netfilter.and_then(|place| place.table.as_deref()));
    put("{chain}", netfilter.and_then(|place| place.rule_chain.as_ref().or(place.chain.as_ref())).map(String::as_str));
    put("{hook}", netfilter.and_then(|place| place.hook.map(NetfilterHook::name)));
    let legacy = netfilter.is_some_and(|place| place.legacy);
    put("{nft}", (!legacy).then_some("nft"));
    put("{iptables}", legacy.then_some(if evidence.is_v6() { "ip6tables-legacy" } else { "iptables-legacy" }));
    put("{setting}", cause.setting.as_ref().map(|setting| super::sysctl::name(&setting.path)).as_deref());
    put("{value}", cause.setting.as_ref().map(|setting| setting.value.as_str()));
    put("{from}", icmp.map(|said| said.from.to_string()).as_deref());
    put("{said}", icmp.map(|said| said.meaning.as_str()));
    put("{program}", Some(cause.program.as_deref().unwrap_or("a program")));
    put("{reason}", cause.reason.as_deref());
    put("{detail}", cause.detail.as_deref());
    put("{-6}", Some(if evidence.is_v6() { "-6" } else { "-4" }));
    put("{ipv}", Some(if evidence.is_v6() { "ipv6" } else { "ipv4" }));
    put("{netstat}", Some(if evidence.is_v6() { "/proc/net/raw6" } else { "/proc/net/raw" }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_advice_and_the_last_row_has_it_for_all() {
        assert!(TABLE.last().is_some_and(|row| row.place.is_empty() && row.reason.is_empty()));
        for row in TABLE {
            assert!(row.meaning.ends_with('.') || row.meaning.is_empty(), "{}", row.meaning);
        }
    }
}

//! Why nobody answers if packets wait for the next hop: the first of these reasons that what was seen and looked up
//! shows.

use super::{
    Told,
    freed::culprit,
    one_device,
    search::Search,
    silence::has_it_and_is_silent,
    unheard, way_back,
    words::{answer, answers, ip, plural, question, questions, takes_all},
};
use crate::{
    diagnosis::{path::Side, resolution::NeighbourFinding as Found},
    model::{
        netfilter::TableFamily,
        trace::{
            Finding,
            NeighbourHop::{Dropped, In, Out},
            NeighbourKind::{Answers, Asks},
        },
    },
};

/// Returns why `side` gave no answer to questions about its own address that somebody unwatched asked.
pub(super) fn by_its_own(search: &Search<'_>, side: Side) -> Option<Told> {
    dropped_there(search, side)
        .or_else(|| answer_dropped_there(search, side))
        .or_else(|| has_it_and_is_silent(search, side))
}

/// Returns why the next hop of `search` was not found.
pub(super) fn told(search: &Search<'_>) -> Option<Told> {
    let by_others = |judge: fn(&Search<'_>, Side) -> Option<Told>| search.others().find_map(|side| judge(search, side));
    way_back::asks_nobody(search)
        .or_else(|| dropped_here(search))
        .or_else(|| answer_dropped_here(search))
        .or_else(|| is_a_port(search))
        .or_else(|| by_others(misaddressed))
        .or_else(|| answer_elsewhere(search))
        .or_else(|| by_others(dropped_there))
        .or_else(|| by_others(answer_dropped_there))
        .or_else(|| answer_lost(search))
        .or_else(|| one_device::told(search))
        .or_else(|| by_others(has_it_and_is_silent))
        .or_else(|| unheard::told(search))
}

/// Recognizes that the asker's own chain, filter or queue ends its questions.
fn dropped_here(search: &Search<'_>) -> Option<Told> {
    let here = search.asker;
    let freed = search.count(here, Asks, Dropped);
    let culprit = search.packets(here, Asks, Dropped).find_map(|packet| culprit(search, here, packet))?;
    if search.packets(here, Asks, In).next().is_some() && search.asked() > 0 {
        return None;
    }
    let name = search.asker_name();
    let clause = format!(
        "{name}'s own {} drops the {} for {} ({freed})",
        culprit.what,
        plural(question(search.address)),
        search.address
    );
    let meaning = format!(
        "{} must be let out, or no neighbour is ever found; echo packets wait for the answer.",
        capital(&plural(question(search.address)))
    );
    Some(culprit.into_told(Told::new(Found::QuestionDroppedHere, clause, meaning, Vec::new())))
}

/// Recognizes that answers came, and that the asker's own chain or filter drops them.
fn answer_dropped_here(search: &Search<'_>) -> Option<Told> {
    let here = search.asker;
    let freed = search.count(here, Answers, Dropped);
    let (packet, culprit) =
        search.packets(here, Answers, Dropped).find_map(|packet| Some((packet, culprit(search, here, packet)?)))?;
    let from = packet.lladdr.as_ref().map(|lladdr| format!(" from {lladdr}")).unwrap_or_default();
    let clause = format!(
        "{}{from} came back for {}, and {}'s own {} drops {}",
        answers(search.address, freed),
        search.address,
        search.asker_name(),
        culprit.what,
        if freed == 1 { "it" } else { "them" },
    );
    let meaning =
        format!("{} must be let in, or no neighbour is ever found.", capital(&plural(answer(search.address))));
    Some(culprit.into_told(Told::new(Found::AnswerDroppedHere, clause, meaning, Vec::new())))
}

/// Recognizes a device that is a port of a bridge, a bond or a team, which gets all that comes in.
fn is_a_port(search: &Search<'_>) -> Option<Told> {
    let master =
        search.device(search.asker, &search.interface)?.master.as_deref().filter(|master| takes_all(master))?;
    let (interface, ip) = (&search.interface, ip(search.address));
    let device = master.split(' ').nth(1).unwrap_or(master);
    let clause = format!(
        "{} asks for {} by {interface}, which is a port of {master}: what comes in there goes to {device}, and no answer \
         reaches {interface}",
        search.asker_name(),
        search.address
    );
    let meaning = format!("Addresses and routes of a port belong to {device}.");
    let mut commands = vec![
        search.command(search.asker, format!("{ip} addr show dev {interface}")),
        search.command(search.asker, format!("{ip} route get {}", search.address)),
    ];
    if let Some(own) = search.own()
        && let Some(address) = own.address
    {
        let prefix = own.prefix;
        let mend =
            format!("ip addr del {address}/{prefix} dev {interface}; ip addr add {address}/{prefix} dev {device}");
        commands.insert(0, search.command(search.asker, format!("sh -c '{mend}'")));
    }
    Some(Told::new(Found::DeviceIsAPort, clause, meaning, commands))
}

/// Recognizes an answer that came in by another device than the one that asks.
fn answer_elsewhere(search: &Search<'_>) -> Option<Told> {
    let came = search.packets(search.asker, Answers, In);
    let mut devices: Vec<&str> = came.filter_map(|packet| packet.interface.as_deref()).collect();
    devices.dedup();
    let other = devices.iter().find(|device| **device != search.interface)?;
    if devices.contains(&search.interface.as_str()) {
        return None;
    }
    let clause = format!(
        "{} asked for {} by {}, and the answer came in by {other}",
        search.asker_name(),
        search.address,
        search.interface
    );
    let meaning = "An answer counts only on the device that asked, so this one is not accepted.";
    let ip = ip(search.address);
    let commands = vec![
        search.command(search.asker, format!("{ip} route get {}", search.address)),
        search.command(search.asker, format!("{ip} addr show dev {other}")),
    ];
    Some(Told::new(Found::AnswerAtOtherDevice, clause, meaning, commands))
}

/// Recognizes that a host which the questions reached drops them.
fn dropped_there(search: &Search<'_>, side: Side) -> Option<Told> {
    let freed = search.count(side, Asks, Dropped);
    let (packet, culprit) =
        search.packets(side, Asks, Dropped).find_map(|packet| Some((packet, culprit(search, side, packet)?)))?;
    let has_it = search.holders(side).next().is_some();
    // A host that does not have the address would not have answered, unless they were to go on through it.
    let at = packet.interface.as_deref().and_then(|interface| search.device(side, interface));
    let passes_on = at.is_some_and(|device| device.master.is_some() || device.kind.as_deref() == Some("bridge"));
    let bridge = culprit.netfilter.as_ref().is_some_and(|place| place.family == Some(TableFamily::Bridge));
    if !has_it && !passes_on && !bridge && packet.layers == 0 {
        return None;
    }
    // A bridge makes copies.
    let freed = search.heard(side).values().copied().max().map_or(freed, |heard| heard.min(freed));
    let clause = format!(
        "{} for {} reached {}, and its {} drops {}",
        questions(search.address, freed),
        search.address,
        search.evidence.whom(side),
        culprit.what,
        if freed == 1 { "it" } else { "them" },
    );
    let meaning = if packet.layers > 0 {
        "The packets of the tunnel must be let through, or nobody at its other end is found.".to_owned()
    } else if has_it {
        format!("{} must be let in, or nobody finds this host.", capital(&plural(question(search.address))))
    } else {
        format!(
            "{} must be let through, or the hosts behind it are not found.",
            capital(&plural(question(search.address)))
        )
    };
    Some(culprit.into_told(Told::new(Found::QuestionDroppedThere, clause, meaning, Vec::new())))
}

/// Recognizes that a host answered, and a chain, filter or queue on the way back ends the answers.
fn answer_dropped_there(search: &Search<'_>, side: Side) -> Option<Told> {
    let freed = search.count(side, Answers, Dropped);
    let culprit = search.packets(side, Answers, Dropped).find_map(|packet| culprit(search, side, packet))?;
    let name = search.evidence.whom(side);
    let answer = plural(answer(search.address));
    let own = search.holders(side).next().is_some();
    let clause = if own {
        let heard: usize = search.heard(side).values().sum();
        let reached = if heard > 0 {
            format!("{} reached {name}, and ", questions(search.address, heard))
        } else {
            String::new()
        };
        format!("{reached}{name}'s own {} drops its {answer} about {} ({freed})", culprit.what, search.address)
    } else {
        format!(
            "{} about {} came to {name}, and its {} drops {}",
            answers(search.address, freed),
            search.address,
            culprit.what,
            if freed == 1 { "it" } else { "them" }
        )
    };
    let meaning = if own {
        format!("{} must be let out, or nobody finds this host.", capital(&answer))
    } else {
        format!("{} must be let through, or the hosts behind it are not found.", capital(&answer))
    };
    Some(culprit.into_told(Told::new(Found::AnswerDroppedThere, clause, meaning, Vec::new())))
}

/// Recognizes that a host answered to another link-layer address than the asker's: its own entry for the asker is
/// wrong.
fn misaddressed(search: &Search<'_>, side: Side) -> Option<Told> {
    let packet = search.packets(side, Answers, Out).next()?;
    let asker = packet.asker;
    let (interface, state, lladdr) = search.evidence.findings(side).find_map(|finding| match finding {
        Finding::Neighbour { address, interface, state, lladdr: Some(lladdr) } if *address == asker => {
            Some((interface, state, lladdr))
        }
        _ => None,
    })?;
    let right = search.device(search.asker, &search.interface)?.lladdr.as_ref().filter(|right| *right != lladdr)?;
    // An ARP reply goes to whoever asked, whatever the entry says.
    if search.address.is_ipv4() {
        return None;
    }
    let name = search.evidence.whom(side);
    let clause = format!(
        "{name} answers to a wrong link-layer address: its entry for {asker} on {interface} has {lladdr} ({state}), and {} \
         has it on {} with {right}",
        search.asker_name(),
        search.interface
    );
    let meaning = "Its answers, and all else for that address, go to a host that does not have it.";
    let mut commands = Vec::new();
    if state == "PERMANENT" {
        let replace = format!("ip -6 neigh replace {asker} lladdr {right} dev {interface} nud permanent");
        commands.push(search.command(side, replace));
    }
    commands.push(search.command(side, format!("ip -6 neigh del {asker} dev {interface}")));
    Some(Told::new(Found::WrongEntry, clause, meaning, commands))
}

/// Recognizes that answers left a host and did not arrive at the asker.
fn answer_lost(search: &Search<'_>) -> Option<Told> {
    if search.count(search.asker, Answers, In) > 0 {
        return None;
    }
    let side = search.others().find(|side| search.count(*side, Answers, Out) > 0)?;
    let sent = search.count(side, Answers, Out);
    let packet = search.packets(side, Answers, Out).next()?;
    let by = packet.interface.as_deref().unwrap_or("a device");
    let clause = format!(
        "{} about {} left {} by {by}, and none came to {}",
        answers(search.address, sent),
        search.address,
        search.evidence.whom(side),
        search.asker_name()
    );
    if let Some(lladdr) = shared(search, side, by) {
        let clause = format!("{clause}: both have the link-layer address {lladdr}");
        let meaning = "A switch or bridge sends what is for that address to only one of the two; a cloned machine \
                       needs an address of its own.";
        let own = || format!("ip -br link show dev {by}");
        let commands = vec![
            search.command(side, own()),
            search.command(side, format!("ip link set dev {by} address NEW_ADDRESS")),
        ];
        return Some(Told::new(Found::SharedLinkAddress, clause, meaning, commands));
    }
    let heard = search.heard(side).into_keys().next().unwrap_or(by);
    let queue = format!("{by}.qdisc.");
    let kept = search.evidence.findings(side).find_map(|finding| match finding {
        Finding::Counter { name, by: risen } if name.starts_with(&queue) => Some(format!("{name} rose by {risen}")),
        _ => None,
    });
    if let Some(kept) = kept {
        let meaning = "The queue of the device holds or drops what is sent, and so the answers.";
        let command = search.command(side, format!("tc -s qdisc show dev {by}"));
        return Some(Told::new(Found::AnswerLost, format!("{clause}; {kept}"), meaning, vec![command]));
    }
    let (meaning, commands) = if heard == by {
        let look = [format!("tcpdump -eni {by} -c 4 'arp or icmp6'"), format!("tc -s qdisc show dev {by}")];
        (format!("They are lost in the queue of {by}, or on the link between the two."), Vec::from(look))
    } else {
        let ask = format!("ip route get {}", packet.asker);
        (format!("The questions came in by {heard}; the answers leave by {by}."), vec![ask])
    };
    let commands = commands.into_iter().map(|command| search.command(side, command)).collect();
    Some(Told::new(Found::AnswerLost, clause, meaning, commands))
}

/// Returns the link-layer address that the asker's device and the answering one share.
fn shared<'a>(search: &Search<'a>, side: Side, by: &str) -> Option<&'a str> {
    let mine = search.device(search.asker, &search.interface)?.lladdr.as_deref()?;
    (search.device(side, by)?.lladdr.as_deref() == Some(mine)).then_some(mine)
}

/// Returns a word with its first letter capitalized; ARP already is.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

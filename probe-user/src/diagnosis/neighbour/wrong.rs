//! Packets that went to a wrong neighbour: an entry with another link-layer address than that of the host they are for,
//! or several hosts with one address.

use super::{
    Told,
    search::{self, Search},
    unheard::has_lladdr,
    words::{ip, whose},
};
use probe_ebpf::Echo;

use crate::{
    diagnosis::{
        Evidence,
        document::{Command, Stop, StopHost},
        path::Side,
        places::DropPoint,
        resolution::NeighbourFinding as Found,
        resolution::OtherHost,
    },
    model::trace::{AddressHolder, Finding, TunProgram, place::in_words},
};

/// A device that has the address, by its link-layer address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    /// Who it is, in words; none: it only answered.
    who: Option<String>,
    interface: String,
    lladdr: String,
}

/// Reports whether the entry of `search` sent the packets of `stop` to a wrong host, or to one of several.
pub(super) fn misleads(search: &Search<'_>, stop: &Stop) -> bool {
    wrong_entry(search, stop).is_some()
        || several(search, stop).is_some()
        || lost_to_another(search, stop).is_some()
        || shared(search, stop).is_some()
}

/// Returns what is said of it.
pub(super) fn told(search: &Search<'_>, stop: &Stop) -> Option<Told> {
    wrong_entry(search, stop)
        .map(|rights| entry_told(search, stop, &rights))
        .or_else(|| several(search, stop))
        .or_else(|| lost_to_another(search, stop))
        .or_else(|| shared(search, stop))
}

/// Returns who has the address, if the entry has somebody else's link-layer address and the packets stopped because of
/// it.
fn wrong_entry(search: &Search<'_>, stop: &Stop) -> Option<Vec<Right>> {
    let lladdr = search.lladdr.as_deref()?;
    let rights = rights(search);
    let known: Vec<Side> = search.others().filter(|side| search.holders(*side).next().is_some()).collect();
    let is_right =
        rights.iter().any(|right| right.lladdr == lladdr) || known.iter().any(|side| has_lladdr(search, *side, lladdr));
    // An address on a device without a link-layer address, such as lo, is found by any device of its host.
    let unknown = known.iter().any(|side| search.holders(*side).all(|holder| holder.lladdr.is_none()));
    if rights.is_empty() || is_right || unknown {
        return None;
    }
    let other_host = stop.cause.reason.as_deref() == Some("OTHERHOST");
    let bridged = stop.whose.side().is_some_and(|side| {
        search.evidence.place(side).is_some() && search.evidence.devices(side).any(|device| device.master.is_some())
    });
    let by_bridge = stop.place == DropPoint::Bridge && stop.whose.side().is_some_and(|side| side != search.asker);
    let lost = bridged || by_bridge || matches!(stop.host, StopHost::Network | StopHost::Beyond);
    let misled = stop.whose.side().is_some_and(|side| {
        side != search.asker && has_lladdr(search, side, lladdr) && search.holders(side).next().is_none()
    });
    (other_host || lost || misled).then_some(rights)
}

/// Returns every device that is known to have the address: of watched sides, and those that answered when asked again.
fn rights(search: &Search<'_>) -> Vec<Right> {
    let mut rights: Vec<Right> = Vec::new();
    let mut add = |right: Right| {
        if !rights.iter().any(|old| old.lladdr == right.lladdr) {
            rights.push(right);
        }
    };
    for side in search.others() {
        for holder in search.holders(side) {
            if let Some(lladdr) = holder.lladdr.clone() {
                add(Right { who: Some(search.evidence.whom(side)), interface: holder.interface.clone(), lladdr });
            }
        }
    }
    let again = search.asked_again();
    let answered = |lladdr: &str| again.is_some_and(|again| again.lladdrs.iter().any(|other| other == lladdr));
    let elsewhere = search.elsewhere();
    // A device without ARP is not asked, and sends to its own address.
    let unasked = search.device(search.asker, &search.interface).is_some_and(|device| device.noarp);
    for holder in &elsewhere {
        // Other links may have hosts of that address: only what answers on this one counts.
        let Some(lladdr) = holder.lladdr.clone() else { continue };
        if answered(&lladdr) || unasked && elsewhere.len() == 1 {
            let who = in_words(holder.netns.as_deref().unwrap_or_default());
            add(Right { who: Some(who), interface: holder.interface.clone(), lladdr });
        }
    }
    for lladdr in again.into_iter().flat_map(|again| &again.lladdrs) {
        add(Right { who: None, interface: String::new(), lladdr: lladdr.clone() });
    }
    rights
}

fn entry_told(search: &Search<'_>, stop: &Stop, rights: &[Right]) -> Told {
    let lladdr = search.lladdr.as_deref().unwrap_or_default();
    let (address, interface, state) = (search.address, &search.interface, search.state.as_str());
    let asker = whose(search.evidence, search.asker);
    let again = search.asked_again();
    let answers = |right: &Right| again.is_some_and(|again| again.lladdrs.contains(&right.lladdr));
    let has = |right: &Right| match &right.who {
        Some(who) if answers(right) => {
            format!("{who} has it on {} with {}, which answers when asked again", right.interface, right.lladdr)
        }
        Some(who) => format!("{who} has it on {} with {}", right.interface, right.lladdr),
        None => format!("asked again, {} answers", right.lladdr),
    };
    let right: Vec<String> = rights.iter().map(has).collect();
    let noarp = search.device(search.asker, interface).is_some_and(|device| device.noarp);
    let entry = if noarp {
        format!("{asker} {interface} does no ARP (NOARP), so that its frames for {address} carry {lladdr}")
    } else {
        format!("{asker} entry for {address} on {interface} has {lladdr} ({state})")
    };
    let owner = owner_of(search, lladdr);
    let of = owner.as_ref().map(|(side, device)| format!(", which is {device} of {}", search.evidence.whom(*side)));
    let clause = format!("{entry}{}, and {}", of.clone().unwrap_or_default(), right.join(", and "));
    let misled =
        stop.whose.side().filter(|side| search.evidence.place(*side).is_some() && has_lladdr(search, *side, lladdr));
    let proxy =
        misled.and_then(|side| search.setting(side, owner.as_ref()?.1, "proxy_arp")).filter(|(_, value)| *value > 0);
    let proxy = proxy.map(|(path, value)| format!(" and answers for others, as {}={value}", path.replace('/', ".")));
    let sentence = misled.map(|side| {
        let were = if stop.packets == 1 { "was" } else { "were" };
        format!(
            "{were} sent to {}, which does not have {address}{}: {entry}, and {}",
            search.evidence.whom(side),
            proxy.unwrap_or_default(),
            right.join(", and ")
        )
    });
    let meaning = if noarp {
        "A device that does no ARP finds no neighbour by itself.".to_owned()
    } else {
        let how = match state {
            "PERMANENT" => "An entry that is PERMANENT is never asked for again.",
            // Of such an entry nobody can tell whether it was asked for just now.
            "REACHABLE" => {
                "The entry was confirmed a short while ago: either the address has moved since, or the host with that link-layer \
                 address answers for it as well (proxy ARP, proxy NDP, a second host), and does so again once the entry is gone."
            }
            _ => "The entry is an old one; the kernel asks again only once it is in doubt.",
        };
        format!("Frames go to a host that does not have, or no longer has, the address. {how}")
    };
    Told { sentence, ..Told::new(Found::WrongEntry, clause, meaning, mending(search, rights, noarp)) }
}

/// Returns the commands that mend the entry: that forget it, or write the right one if it was written by hand.
fn mending(search: &Search<'_>, rights: &[Right], noarp: bool) -> Vec<Command> {
    let (ip, address, interface) = (ip(search.address), search.address, &search.interface);
    if noarp {
        return vec![search.command(search.asker, format!("ip link set dev {interface} arp on"))];
    }
    let device = search.device(search.asker, interface);
    let vxlan = device.and_then(|device| device.kind.as_deref()) == Some("vxlan");
    let mut commands = Vec::new();
    if let (true, [right, ..]) = (search.state == "PERMANENT", rights) {
        let lladdr = &right.lladdr;
        commands.push(format!("{ip} neigh replace {address} lladdr {lladdr} dev {interface} nud permanent"));
    }
    if !vxlan {
        commands.push(format!("{ip} neigh del {address} dev {interface}"));
    } else {
        commands.push(format!("bridge fdb show dev {interface}"));
    }
    commands.push(format!("{ip} neigh show {address} dev {interface}"));
    commands.into_iter().map(|command| search.command(search.asker, command)).collect()
}

/// Returns whose device has a link-layer address.
fn owner_of<'a>(search: &Search<'a>, lladdr: &str) -> Option<(Side, &'a str)> {
    search.evidence.sides().find_map(|side| {
        let mut devices = search.evidence.devices(side);
        let device = devices.find(|device| device.lladdr.as_deref() == Some(lladdr))?;
        Some((side, device.interface.as_str()))
    })
}

/// Recognizes that several hosts have the address, and the packets went to one of them.
fn several(search: &Search<'_>, stop: &Stop) -> Option<Told> {
    let lladdr = search.lladdr.as_deref()?;
    let rights = rights(search);
    let here = stop.whose.side().filter(|side| search.evidence.place(*side).is_some());
    let there = here.filter(|side| search.holders(*side).next().is_some())?;
    let mine = rights.iter().find(|right| right.lladdr == lladdr && has_lladdr(search, there, lladdr))?;
    let others: Vec<&Right> = rights.iter().filter(|right| !has_lladdr(search, there, &right.lladdr)).collect();
    let other = others.first()?;
    let (address, name) = (search.address, search.evidence.whom(there));
    let named = |right: &Right| match &right.who {
        Some(who) => format!("{who} ({}, {})", right.interface, right.lladdr),
        None => format!("another host ({})", right.lladdr),
    };
    let clause = format!(
        "two hosts have {address}: {} and {}; {} entry has the first one's",
        named(mine),
        named(other),
        whose(search.evidence, search.asker)
    );
    let were = if stop.packets == 1 { "was" } else { "were" };
    let ended = match &stop.cause.setting {
        Some(setting) => format!("left unanswered there, as {}={} says", setting.path.replace('/', "."), setting.value),
        None => "ended there".to_owned(),
    };
    let unseen = if search.evidence.passes_by_the_peer() {
        format!("; {} saw none of them", search.evidence.name(Side::Peer))
    } else {
        String::new()
    };
    let sentence = format!("{were} sent to {name} and {ended}: {clause}{unseen}");
    let meaning = "One of the two must give the address up; which of them answers first is a matter of chance.";
    let mut commands = vec![
        search.command(there, format!("{} addr show dev {}", ip(address), mine.interface)),
        search.command(search.asker, format!("{} neigh show {address} dev {}", ip(address), search.interface)),
    ];
    // A host that has the address by mistake is not to become a router.
    let forwards = |command: &&Command| command.command.contains("forward");
    commands.extend(stop.commands.iter().take(1).filter(|command| !forwards(command)).cloned());
    Some(Told {
        sentence: Some(sentence),
        setting: stop.cause.setting.clone(),
        ..Told::new(Found::SeveralHosts, clause, meaning, commands)
    })
}

/// Recognizes that several answer for the address, and that the one of the entry is nobody who is watched: the packets were
/// lost there, or on the way to it.
fn lost_to_another(search: &Search<'_>, stop: &Stop) -> Option<Told> {
    let lladdr = search.lladdr.as_deref()?;
    let (evidence, address) = (search.evidence, search.address);
    let lost = matches!(stop.host, StopHost::Network | StopHost::Beyond) && search.asker == Side::Local;
    let unwatched = lost && stop.leg == evidence.first_leg() && owner_of(search, lladdr).is_none();
    let answered = search.asked_again().filter(|again| unwatched && again.lladdrs.iter().any(|one| one == lladdr))?;
    let rights = rights(search);
    let others: Vec<&Right> = rights.iter().filter(|right| right.lladdr != lladdr).collect();
    let named = |right: &&Right| match &right.who {
        Some(who) => format!("{} ({who}, {})", right.lladdr, right.interface),
        None => right.lladdr.clone(),
    };
    let [_, ..] = others.as_slice() else { return None };
    let clause = format!(
        "several answer for {address} on {}: {}, and {lladdr}, which {} entry has",
        answered.interface,
        others.iter().map(named).collect::<Vec<_>>().join(", "),
        whose(evidence, search.asker)
    );
    let meaning = "Two hosts have the address, or one has two devices on this link. If they are two hosts, one must give it \
                   up; which of them answers first is a matter of chance.";
    let (ip, interface) = (ip(address), &answered.interface);
    let shown = format!("{ip} neigh show {address} dev {interface}");
    let anew = format!("{ip} neigh del {address} dev {interface}");
    let commands = vec![search.command(search.asker, shown), search.command(search.asker, anew)];
    Some(Told::new(Found::SeveralHosts, clause, meaning, commands))
}

/// Recognizes that the host where the packets ended has the link-layer address of the one that they are for.
fn shared(search: &Search<'_>, stop: &Stop) -> Option<Told> {
    let lladdr = search.lladdr.as_deref()?;
    let evidence = search.evidence;
    let here = stop.whose.side().filter(|side| evidence.place(*side).is_some() && *side != search.asker)?;
    // Routing found them to be for another host; one that is another side's namespace may have the address there.
    let unrouted = stop.place == DropPoint::RouteIn && search.holders(here).next().is_none();
    (unrouted && has_lladdr(search, here, lladdr)).then_some(())?;
    let inode = search::inode_of(evidence, here);
    let watched = search.others().filter(|side| search::inode_of(evidence, *side) != inode);
    let mut watched = watched.flat_map(|side| search.holders(side).map(move |holder| (evidence.whom(side), holder)));
    let has = |holder: &AddressHolder| holder.lladdr.as_deref() == Some(lladdr);
    let unmet = || {
        let mut others = search.elsewhere().into_iter().filter(|holder| holder.inode != inode && has(holder));
        others.next().map(|holder| (in_words(holder.netns.as_deref().unwrap_or_default()), holder))
    };
    let (owner, right) = watched.find(|(_, holder)| has(holder)).or_else(unmet)?;
    let mine = evidence.devices(here).find(|device| device.lladdr.as_deref() == Some(lladdr))?;
    let (address, name) = (search.address, evidence.whom(here));
    let clause = format!(
        "{} of {name} and {} of {owner}, which has {address}, have one link-layer address, {lladdr}",
        mine.interface, right.interface
    );
    let (were, it) = if stop.packets == 1 { ("was", "It") } else { ("were", "They") };
    let sentence = format!("{were} taken in by {name}, which does not have {address}: {clause}");
    let meaning = format!(
        "{it} came to whichever of the two a switch heard last. Machines that were cloned have one address: one of them needs \
         another."
    );
    let shown = format!("ip link show dev {}", mine.interface);
    let asked = format!("{} neigh show {address} dev {}", ip(address), search.interface);
    let commands = vec![search.command(here, shown), search.command(search.asker, asked)];
    Some(Told { sentence: Some(sentence), ..Told::new(Found::SharedLinkAddress, clause, meaning, commands) })
}

/// Returns who answered a run whose far end saw nothing of it.
pub(super) fn other(evidence: &Evidence) -> OtherHost {
    let target = evidence.target.address;
    let entry = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Neighbour { lladdr, .. } => lladdr.clone(),
        _ => None,
    });
    let has = |side: &Side| {
        evidence
            .findings(*side)
            .any(|finding| matches!(finding, Finding::Address { address, own: true } if *address == target))
    };
    let place = evidence.sides().filter(|side| matches!(side, Side::Via(_))).find(has);
    let peer = evidence.holders(Side::Peer, target).find_map(|holder| holder.lladdr.clone());
    let program = behind_the_device(evidence).map(|(_, program)| program.name());
    OtherHost { lladdr: entry, place: place.map(|side| evidence.name(side)), peer_lladdr: peer, program }
}

/// Returns the tun device by which the probes left and the answers came in, and the only program that holds it.
fn behind_the_device(evidence: &Evidence) -> Option<(&str, &TunProgram)> {
    let device = evidence.crossed(Side::Local, Echo::Request, false);
    let back = evidence.crossed(Side::Local, Echo::Reply, true);
    evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Tun { interface, programs } if interface == device && back == device => match programs.as_slice() {
            [program] => Some((interface.as_str(), program)),
            _ => None,
        },
        _ => None,
    })
}

/// Returns what the place with this name is called in the middle of a sentence.
fn called(name: &str, evidence: &Evidence) -> String {
    let side = evidence.sides().find(|side| evidence.place(*side).is_some_and(|place| place.name == name));
    side.map_or_else(|| name.to_owned(), |side| evidence.whom(side))
}

/// Returns who it is, and what the far end has to do with it, as the rest of a sentence: `network namespace c answered …`.
pub(in crate::diagnosis) fn told_of(other: &OtherHost, evidence: &Evidence) -> String {
    let (far, target) = (evidence.name(Side::Peer), evidence.target.address);
    let by = |lladdr: &Option<String>| lladdr.as_ref().map(|lladdr| format!(" ({lladdr})")).unwrap_or_default();
    if let Some((device, program)) = behind_the_device(evidence) {
        let more = if program.sockets == 0 { "" } else { ", or by what it sends them on to" };
        let name = program.name();
        return format!(
            "by {name}, the program behind the tun device {device}{more}, not by {far}, which saw none of them"
        );
    }
    if let Some(own) = evidence.holders(Side::Local, target).next() {
        return format!(
            "by {} itself, which has {target} on its {}, not by {far}: none of them left",
            evidence.name(Side::Local),
            own.interface
        );
    }
    let who = match &other.place {
        Some(place) => format!("{}{}", called(place, evidence), by(&other.lladdr)),
        None => match &other.lladdr {
            Some(lladdr) => format!("the host with {lladdr}"),
            None => "another host".to_owned(),
        },
    };
    let also = if other.peer_lladdr.is_some() {
        format!(", and {far}{} has that address too", by(&other.peer_lladdr))
    } else {
        String::new()
    };
    format!("by {who}, not by {far}, which saw none of them: {who} answers for {target}{also}")
}

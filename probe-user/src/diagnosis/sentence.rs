//! The answer in one sentence.

use super::{
    Evidence, ProbeMode, Responder, control,
    document::{Alteration, Confidence, Diagnosis, Layer, Outcome, PlaceRole, Stop, StopHost, Value, Witness},
    followed::{self, flows::FollowedRole},
    neighbour::wrong::told_of,
    path::{Checkpoint, Side, Station},
    places::DropPoint,
    rules::{device_redirect::REDIRECTED, over_lo::OVER_LO},
};
use probe_ebpf::Echo;

/// Returns the sentence of a diagnosis that lacks only that.
pub(super) fn of(diagnosis: &Diagnosis, evidence: &Evidence) -> String {
    let teller = Teller { diagnosis, evidence };
    match diagnosis.verdict.outcome {
        Outcome::Delivered => teller.delivered(),
        Outcome::Altered => teller.altered(),
        Outcome::Inconclusive => teller.inconclusive(),
        Outcome::Stopped | Outcome::Lossy => teller.stopped(),
    }
}

/// Returns what becomes of the packets that carry probes, as a clause that begins with `which`. `diagnosis` is theirs.
pub(super) fn of_carried(stop: &Stop, diagnosis: &Diagnosis, evidence: &Evidence) -> String {
    Teller { diagnosis, evidence }.stop(stop)
}

struct Teller<'a> {
    diagnosis: &'a Diagnosis,
    evidence: &'a Evidence,
}

/// Returns a number with its noun.
fn counted(count: usize, leg: Echo) -> String {
    let noun = match (leg, count) {
        (Echo::Request, 1) => "request",
        (Echo::Request, _) => "requests",
        (Echo::Reply, 1) => "reply",
        (Echo::Reply, _) => "replies",
    };
    format!("{count} {noun}")
}

impl Teller<'_> {
    fn sent_leg(&self) -> Echo {
        self.evidence.first_leg()
    }

    /// Returns `All 10 requests`, `The request`, `3 of 10 requests`.
    fn packets(&self, count: usize, leg: Echo) -> String {
        let sent = self.diagnosis.sent;
        if self.evidence.layer.is_some() {
            return "which".to_owned();
        }
        match count {
            1 if sent == 1 => format!("The {}", counted(1, leg).trim_start_matches("1 ")),
            count if count == sent => format!("All {}", counted(count, leg)),
            count => format!("{count} of {}", counted(sent, leg)),
        }
    }

    fn far(&self) -> String {
        if self.evidence.loops_back() { self.evidence.name(Side::Local) } else { self.evidence.name(Side::Peer) }
    }

    /// Returns who answered: the far end as a whole, or what answers there in place of its kernel.
    fn who_answers(&self) -> String {
        match self.evidence.responder {
            Responder::Agent if self.evidence.two_sided() => format!("the agent on {}", self.far()),
            Responder::Xdp if self.evidence.two_sided() => format!("XDP at the NIC of {}", self.far()),
            _ => self.far(),
        }
    }

    /// Reports whether this host is the one that another host pings.
    fn answers_itself(&self) -> bool {
        self.evidence.following.as_ref().is_some_and(|following| following.role == FollowedRole::Target)
    }

    fn near(&self) -> String {
        self.evidence.name(Side::Local)
    }

    fn delivered(&self) -> String {
        let all = self.packets(self.diagnosis.answered, self.sent_leg());
        let were = if self.diagnosis.answered == 1 { "was" } else { "were" };
        match (self.evidence.mode, self.diagnosis.rtt_ns) {
            (ProbeMode::ReplyOnly, _) => format!(
                "{all} reached {}, though nobody had asked for {}.",
                self.far(),
                if self.diagnosis.answered == 1 { "it" } else { "them" }
            ),
            (ProbeMode::RequestOnly, _) => format!("{all} reached {}.", self.far()),
            (ProbeMode::Request, Some(rtt)) => {
                let time = milliseconds(rtt.p50);
                let median = if self.diagnosis.answered == 1 { "" } else { " (median)" };
                format!("{all} {were} answered by {}, in {time}{median}.", self.who_answers())
            }
            (ProbeMode::Request, None) => format!("{all} {were} answered by {}.", self.who_answers()),
        }
    }

    fn altered(&self) -> String {
        let all = self.packets(self.diagnosis.answered, self.sent_leg());
        let were = if self.diagnosis.answered == 1 { "was" } else { "were" };
        let end = if self.evidence.one_way() { "delivered" } else { "answered" };
        if let Some(other) = &self.diagnosis.answered_by {
            return format!("{all} {were} {end}, but {}.", told_of(other, self.evidence));
        }
        let change = self.diagnosis.alterations.first().map(|change| self.changed(change)).unwrap_or_default();
        format!("{all} {were} {end}, but {change}.")
    }

    fn changed(&self, change: &Alteration) -> String {
        let Alteration { sent, seen, seen_at, leg, .. } = change;
        let way = if *leg == Echo::Request { "on the way" } else { "on the way back" };
        match (sent, seen) {
            (Value::Id(sent), Value::Id(seen)) => {
                let whom = self.evidence.name(seen_at.host);
                format!("their id was rewritten {way}: sent as {sent} ({sent:#x}), {whom} saw {seen} ({seen:#x})")
            }
            (sent, seen) => format!("by another address: {sent} was asked, {seen} answered"),
        }
    }

    fn inconclusive(&self) -> String {
        if let (0, Some(following)) = (self.diagnosis.sent, &self.evidence.following) {
            return followed::nothing(following);
        }
        if self.diagnosis.sent == 0 {
            return "Nothing was sent, so nothing is known.".to_owned();
        }
        let all = self.packets(self.diagnosis.sent, self.sent_leg());
        let one = self.diagnosis.sent == 1;
        if self.evidence.two_sided() {
            return format!(
                "{all} left {}; no hop of {} could be watched, so nobody knows whether {} arrived.",
                self.near(),
                self.far(),
                if one { "it" } else { "they" }
            );
        }
        format!(
            "{all} left {}; whether {} arrived, only the far end can tell: use --peer.",
            self.near(),
            if one { "it" } else { "they" }
        )
    }

    fn stopped(&self) -> String {
        let stops = &self.diagnosis.stops;
        let Some(first) = stops.first() else {
            return format!("{} got no answer.", self.packets(self.diagnosis.sent, self.sent_leg()));
        };
        let mut text = self.stop(first);
        if let Some(why) = first.cause.tracking.as_ref().filter(|why| !text.contains(why.as_str())) {
            text.push_str(&format!("; {why}"));
        }
        match stops.len() {
            1 => {}
            2 if alike(first, &stops[1]) => {
                let others = &stops[1];
                let noun = match (others.leg, others.packets) {
                    (Echo::Request, 1) => "request",
                    (Echo::Request, _) => "requests",
                    (Echo::Reply, 1) => "reply",
                    (Echo::Reply, _) => "replies",
                };
                let was = if others.packets == 1 { "was" } else { "were" };
                text.push_str(&format!(", and so {was} {} {noun} to the others", others.packets));
            }
            2 => text.push_str("; the others stop at another place, below"),
            count => text.push_str(&format!("; others stop at {} more places, below", count - 1)),
        }
        if let Some(change) = control::decisive(&self.evidence.controls).filter(|change| !text.contains(*change)) {
            text.push_str(&format!("; {change} they are answered"));
        }
        let answered = self.diagnosis.answered;
        if answered > 0 {
            let end = if self.evidence.one_way() { "arrived" } else { "answered" };
            let were = match (self.evidence.mode, answered) {
                (ProbeMode::ReplyOnly | ProbeMode::RequestOnly, _) => "",
                (_, 1) => "was ",
                _ => "were ",
            };
            text.push_str(&format!("; {answered} {were}{end}"));
        }
        text + "."
    }

    fn stop(&self, stop: &Stop) -> String {
        let (near, far) = (self.near(), self.far());
        let packets = self.packets(stop.packets, stop.leg);
        let one = stop.packets == 1;
        let (were, they) = if one { ("was", "it") } else { ("were", "they") };
        let by = self.by(stop);
        let unasked = self.evidence.mode == ProbeMode::ReplyOnly;
        if let Some(told) = &stop.told {
            return format!("{packets} {told}");
        }
        if stop.confidence == Confidence::Unknown {
            return self.unknown(stop);
        }
        match (stop.host, stop.leg) {
            _ if Self::unmade(stop) => self.made_none(stop, &by),
            (StopHost::Local, leg) if leg == self.sent_leg() && !self.evidence.loops_back() => {
                format!("{packets} {were} {}", placed(&by, &format!("on {near} itself")))
            }
            (StopHost::Local, Echo::Request) => format!("{packets} {were} {}", placed(&by, &format!("on {near}"))),
            (StopHost::Local, Echo::Reply) if self.answers_itself() => {
                format!("{packets} that {near} made {were} {}", placed(&by, &format!("on {near} itself")))
            }
            (StopHost::Local, Echo::Reply) => {
                format!("{packets} came back to {near} and {were} {}", placed(&by, "there"))
            }
            (StopHost::Via, _) => self.via(stop, &packets, &by),
            (StopHost::Network, leg) => {
                let (from, to) = self.ends(stop, leg == Echo::Request || unasked);
                let who = match &stop.cause.icmp {
                    _ if stop.cause.neighbour.is_some() => stop.cause.detail.clone().unwrap_or_default(),
                    Some(said) if said.from == self.evidence.target.address && said.is_of_a_router() => {
                        format!("{they} {were} refused in the name of {}: {}", said.from, said.meaning)
                    }
                    Some(said) => format!("{} on the way refused {}: {}", said.from, them(one), said.meaning),
                    // What is known about the far end says more than that they were lost.
                    None if matches!(stop.cause.reason.as_deref(), Some("EADDRNOTAVAIL" | "NO-CARRIER")) => {
                        stop.cause.detail.clone().unwrap_or_default()
                    }
                    None => format!("{they} {were} lost on the network between the two"),
                };
                format!("{packets} left {from} and never reached {to}: {who}")
            }
            (StopHost::Beyond, _) => self.beyond(stop, &packets, one),
            (StopHost::Peer, Echo::Reply) if self.evidence.layer.is_some() => {
                format!("{packets} {were} {}", placed(&by, &format!("on {far} itself")))
            }
            (StopHost::Peer, Echo::Reply) if !unasked => {
                format!("{packets} that {far} made {were} {}", placed(&by, &format!("on {far} itself")))
            }
            // Nobody showed that they came there.
            (StopHost::Peer, leg)
                if stop.place == DropPoint::DriverIn && !stop.witnesses.contains(&Witness::DropEvent) =>
            {
                let (from, to) = self.ends(stop, leg == Echo::Request || unasked);
                let why = stop.cause.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                format!("{packets} left {from} and did not get past the network device of {to}{why}")
            }
            (StopHost::Peer, _) => format!("{packets} reached {far} and {were} {}", placed(&by, "there")),
        }
    }

    /// Returns the two watched places between which packets were lost.
    fn ends(&self, stop: &Stop, there: bool) -> (String, String) {
        let (near, far) = (self.near(), self.far());
        let (from, to) = if there { (near, far) } else { (far, near) };
        let between = [stop.last_seen.host, stop.first_missing.host].iter().any(|side| matches!(side, Side::Via(_)));
        if !between {
            return (from, to);
        }
        (self.evidence.whom(stop.last_seen.host), self.evidence.whom(stop.first_missing.host))
    }

    /// Describes a stop in a network namespace in between, or in that of the target.
    fn via(&self, stop: &Stop, packets: &str, by: &str) -> String {
        let side = stop.whose.side().unwrap_or(Side::Local);
        let target = self.diagnosis.places.iter().any(|it| it.side == side && it.role == PlaceRole::Target);
        let host = match self.evidence.entered_from(side) {
            Side::Local => "this host".to_owned(),
            Side::Peer => self.far(),
            via @ Side::Via(_) => self.evidence.name(via),
        };
        let what = if target { "the target" } else { "a router" };
        let were = if stop.packets == 1 { "was" } else { "were" };
        let place = match (self.evidence.is_looked_into(side), target) {
            (true, _) => format!("in {} ({what} on {host})", self.evidence.whom(side)),
            (false, true) => format!("on {} (the target)", self.evidence.name(side)),
            (false, false) => format!("on {} (a router on the way)", self.evidence.name(side)),
        };
        format!("{packets} {were} {}", placed(by, &place))
    }

    /// Describes a stop by nothing but the two ends of the gap.
    fn unknown(&self, stop: &Stop) -> String {
        let at = |checkpoint: Checkpoint| match checkpoint.station {
            Station::Send => format!("{}'s send call", self.evidence.name(checkpoint.host)),
            Station::Recv => format!("{}'s reading", self.evidence.name(checkpoint.host)),
            Station::Encap | Station::Decap => format!("the tunnel of {}", self.evidence.name(checkpoint.host)),
            Station::Hop(hop) | Station::Port(hop, _) => {
                format!("{}'s {}", self.evidence.name(checkpoint.host), hop.name())
            }
        };
        let packets = self.packets(stop.packets, stop.seen_leg);
        let (last, first) = (at(stop.last_seen), at(stop.first_missing));
        let more = stop.cause.detail.as_ref().map(|detail| format!("; {detail}")).unwrap_or_default();
        format!("{packets} went missing between {last} and {first}, and what was watched does not show why{more}")
    }

    /// Reports whether the far kernel made no reply, rather than lost one.
    fn unmade(stop: &Stop) -> bool {
        matches!(stop.place, DropPoint::RouteBack | DropPoint::RateLimit)
    }

    fn made_none(&self, stop: &Stop, by: &str) -> String {
        let far = self.far();
        format!("{} reached {far}, which made no reply: {by}", self.packets(stop.packets, Echo::Request))
    }

    fn beyond(&self, stop: &Stop, packets: &str, one: bool) -> String {
        let from = self.left_from(stop);
        match &stop.cause.icmp {
            Some(said) if said.from == self.evidence.target.address && said.is_of_a_router() => {
                format!(
                    "{packets} left {from}, and were refused in the name of {}: {}",
                    self.evidence.target.address, said.meaning
                )
            }
            Some(said) if said.from == self.evidence.target.address => {
                format!("{packets} reached {}, which refused {}: {}", self.far(), them(one), said.meaning)
            }
            Some(said) => {
                let round = stop.cause.detail.as_ref().filter(|_| stop.cause.reason.as_deref() == Some("TTL"));
                let why = round.map_or_else(|| said.meaning.clone(), |detail| format!("{}, in {detail}", said.meaning));
                format!("{packets} left {from}, and {} refused {}: {why}", said.from, them(one))
            }
            None => {
                let last =
                    self.evidence.walk.as_ref().and_then(|walk| walk.steps.iter().rev().find_map(|step| step.from));
                let walk = last.map(|router| format!("; the last router to answer was {router}")).unwrap_or_default();
                format!(
                    "{packets} left {from}, and nothing came back: the network or the far end stops \
                         the {} or the {}{walk}",
                    noun(Echo::Request, one),
                    noun(Echo::Reply, one)
                )
            }
        }
    }

    /// Returns `vm's eth0`: the last watched place that they left, and by which interface.
    fn left_from(&self, stop: &Stop) -> String {
        let side = stop.last_seen.host;
        let port = self.evidence.place(side).and_then(|place| match stop.last_seen.station {
            Station::Port(_, port) => place.ports.get(usize::from(port)),
            _ => None,
        });
        let (side, device) = match port {
            Some(port) => (side, &port.interface),
            None => (Side::Local, &self.evidence.local.host.interface),
        };
        let whom = self.evidence.whom(side);
        if device.is_empty() { whom } else { format!("{whom}'s {device}") }
    }

    /// Returns `dropped by nftables: inet filter, chain input`.
    fn by(&self, stop: &Stop) -> String {
        let cause = &stop.cause;
        let reason = cause.reason.as_deref();
        if reason == Some("PROBE_FILTER") {
            return format!("dropped by {}", cause.program.as_deref().unwrap_or("probe's own filter"));
        }
        let named = |what: &str| match &cause.detail {
            Some(detail) => format!("{what} ({detail})"),
            None => match reason {
                Some(reason) => format!("{what} ({reason})"),
                None => what.to_owned(),
            },
        };
        if let (Some(REDIRECTED), Some(detail)) = (reason, &cause.detail) {
            return match stop.layer {
                Layer::Netfilter => format!("{detail} by {}", netfilter(stop)),
                _ => format!("{detail} by {}", cause.program.as_deref().unwrap_or("a tc filter or program")),
            };
        }
        if let (DropPoint::TunProgram, Some(detail)) = (stop.place, &cause.detail) {
            return detail.clone();
        }
        match stop.layer {
            Layer::Netfilter if stop.place == DropPoint::Bridge && stop.cause.netfilter.is_none() => {
                named("dropped by the bridge")
            }
            Layer::Netfilter if reason == Some("NAT_NOT_UNDONE") => named("not translated back"),
            Layer::Netfilter => match &cause.tracking {
                Some(why) => format!("dropped by {} ({why})", netfilter(stop)),
                None => format!("dropped by {}", netfilter(stop)),
            },
            Layer::Xdp => format!("dropped by {}", cause.program.as_deref().unwrap_or("an XDP program")),
            Layer::Tc => format!("dropped by {}", cause.program.as_deref().unwrap_or("a tc filter or program")),
            Layer::Cgroup => format!("dropped by {}", cause.program.as_deref().unwrap_or("a cgroup program")),
            Layer::Route if Self::unmade(stop) => named(match reason {
                Some(reason) if reason.starts_with("Xfrm.") => "an IPsec policy forbids it",
                _ => "it has no route back",
            }),
            Layer::Icmp if Self::unmade(stop) && reason.is_some_and(|reason| reason.ends_with("OutErrors")) => {
                named("its kernel's ICMP had no room for one")
            }
            Layer::Icmp if Self::unmade(stop) => {
                named("its limit of ICMP messages, or what else keeps it from answering")
            }
            Layer::Icmp if cause.setting.is_some() => {
                let setting =
                    cause.setting.as_ref().map(|said| format!("{}={}", said.path.replace('/', "."), said.value));
                format!("left unanswered, as {} says", setting.unwrap_or_default())
            }
            Layer::Route if stop.host == StopHost::Via && cause.setting.is_some() => {
                let setting = cause.setting.as_ref();
                let said = setting.map(|said| format!("{}={}", said.path.replace('/', "."), said.value));
                format!("dropped by routing ({})", said.unwrap_or_default())
            }
            Layer::Route if reason == Some(OVER_LO) => named("lost by routing"),
            Layer::Route if reason == Some("TTL") => named("dropped by routing"),
            Layer::Route => named(if stop.host == StopHost::Local && stop.leg == self.sent_leg() {
                "refused by routing"
            } else {
                "dropped by routing"
            }),
            Layer::Neighbour if cause.neighbour.is_some() => {
                format!("held back, because {}", cause.detail.as_deref().unwrap_or_default())
            }
            Layer::Neighbour => named("held back, because nobody answers for the next hop"),
            Layer::Qdisc if reason.is_some_and(|reason| reason.ends_with(".queued")) => {
                named("held back by the queue of the device")
            }
            Layer::Qdisc => named("dropped by the queue of the device"),
            Layer::Driver => named("dropped by the network device"),
            Layer::Ip if stop.witnesses.contains(&Witness::Errno) => named("refused as too long for the way out"),
            Layer::Ip => named("dropped by the IP layer"),
            Layer::Icmp => named("dropped by the kernel's ICMP"),
            Layer::Socket if stop.place == DropPoint::SocketLookup => named("not given to the program"),
            Layer::Socket => {
                named(if stop.leg == self.sent_leg() { "refused by the socket" } else { "dropped at the socket" })
            }
            Layer::Path => "lost".to_owned(),
            Layer::Tunnel => named("dropped by the tunnel"),
        }
    }
}

/// Returns whether one and the same cause stops packets of both legs: a place that drops some of what passes does so in
/// both directions.
fn alike(first: &Stop, second: &Stop) -> bool {
    let of = |stop: &Stop| (stop.host, stop.place_name.clone(), stop.layer, stop.cause.netfilter.clone());
    first.leg == Echo::Request
        && second.leg == Echo::Reply
        && of(first) == of(second)
        && first.cause.detail == second.cause.detail
        && first.told.is_none()
        && second.told.is_none()
}

/// Turns `dropped by nftables` into `dropped there by nftables`.
fn placed(by: &str, place: &str) -> String {
    let ends = [by.find(" by "), by.find(" as "), by.find(','), by.find(" (")];
    let end = ends.into_iter().flatten().min().unwrap_or(by.len());
    format!("{} {place}{}", &by[..end], &by[end..])
}

/// Returns `nftables: inet filter, chain input`, or what is known of it.
fn netfilter(stop: &Stop) -> String {
    let Some(place) = &stop.cause.netfilter else { return "netfilter".to_owned() };
    match (&place.family, &place.table, &place.chain, &place.hook) {
        (Some(family), Some(table), Some(chain), _) => {
            let by = if place.legacy { "iptables" } else { "nftables" };
            format!("{by}: {family} {table}, chain {chain}")
        }
        (.., Some(hook)) => format!("netfilter in hook {hook}"),
        _ => "netfilter".to_owned(),
    }
}

fn them(one: bool) -> &'static str {
    if one { "it" } else { "them" }
}

fn noun(leg: Echo, one: bool) -> &'static str {
    match (leg, one) {
        (Echo::Request, true) => "request",
        (Echo::Request, false) => "requests",
        (Echo::Reply, true) => "reply",
        (Echo::Reply, false) => "replies",
    }
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2} ms", nanoseconds as f64 / 1e6)
}

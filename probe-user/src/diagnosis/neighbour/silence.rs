//! Why a host that has the address and heard the questions gave no answer: the first of these reasons that the look-ups
//! show.

use probe_ebpf::Hop;

use super::{
    Told,
    search::Search,
    words::{questions, takes_all, whose},
};
use crate::{
    diagnosis::{Evidence, document::SettingSaid, hooks, path::Side, resolution::NeighbourFinding as Found, sysctl},
    model::{
        prefix::shares,
        trace::{
            AddressHolder, Finding,
            NeighbourHop::{In, Out},
            NeighbourKind::{Answers, Asks},
        },
    },
};

/// Recognizes that a host has the address, heard the questions, and gave no answer.
pub(super) fn has_it_and_is_silent(search: &Search<'_>, side: Side) -> Option<Told> {
    let heard = search.heard(side);
    let holder = search.holders(side).next()?;
    if search.count(side, Answers, Out) > 0 {
        return None;
    }
    let count = *heard.values().max()?;
    // A device on top of another hears after it: the one that has the address counts, if it is among them.
    let top = heard.keys().copied().find(|at| *at == holder.interface);
    let at = top
        .or_else(|| heard.keys().copied().find(|at| !is_port(search, side, at)))
        .or_else(|| heard.keys().copied().next())?;
    let head = format!(
        "{} for {} reached {} by {at}",
        questions(search.address, count),
        search.address,
        search.evidence.whom(side)
    );
    let silence = Silence { search, side, holder, at, head };
    silence
        .unusable()
        .or_else(|| silence.on_a_port())
        .or_else(|| silence.no_arp())
        .or_else(|| silence.arp_ignore())
        .or_else(|| silence.on_other_device())
        .or_else(|| silence.arp_filter())
        .or_else(|| silence.reverse_path())
        .or_else(|| silence.own_asker())
        .or_else(|| silence.not_local())
        .or_else(|| silence.hop_limit())
        .or_else(|| Some(silence.unexplained()))
}

fn is_port(search: &Search<'_>, side: Side, interface: &str) -> bool {
    search.device(side, interface).and_then(|device| device.master.as_deref()).is_some_and(takes_all)
}

/// A host that has the address and does not answer.
struct Silence<'v, 'a> {
    search: &'v Search<'a>,
    side: Side,
    holder: &'a AddressHolder,
    /// By which device it heard the questions.
    at: &'a str,
    head: String,
}

impl Silence<'_, '_> {
    /// Recognizes an address that is tentative, or was found to be a duplicate.
    fn unusable(&self) -> Option<Told> {
        let (search, holder) = (self.search, self.holder);
        let state = holder.states.iter().find(|state| *state == "dadfailed" || *state == "tentative")?;
        let why = if state == "dadfailed" {
            "its kernel found another host with that address"
        } else {
            "its kernel has not yet made sure that nobody else has it"
        };
        let clause = format!("{}, where {} on {} is {state}: {why}", self.head, search.address, holder.interface);
        let meaning = "An address in that state is not used and not answered for.";
        let (address, prefix, interface) = (search.address, holder.prefix, &holder.interface);
        let again = format!(
            "sh -c 'ip -6 addr del {address}/{prefix} dev {interface}; ip -6 addr add {address}/{prefix} dev {interface}'"
        );
        let commands = vec![
            search.command(self.side, format!("ip -6 addr show dev {interface}")),
            search.command(self.side, again),
        ];
        Some(Told::new(Found::AddressNotUsable, clause, meaning, commands))
    }

    /// Recognizes an address on a port of a bridge, which hears the questions in its place.
    fn on_a_port(&self) -> Option<Told> {
        let (search, holder) = (self.search, self.holder);
        let master = holder.master.as_deref().filter(|master| takes_all(master))?;
        let device = master.split(' ').nth(1).unwrap_or(master);
        let clause = format!(
            "{}, where the address is on {}, a port of {master}: what comes in there goes to {device}",
            self.head, holder.interface
        );
        let meaning = format!("Addresses of a port belong to {device}.");
        let (address, prefix, interface) = (search.address, holder.prefix, &holder.interface);
        let mend =
            format!("ip addr del {address}/{prefix} dev {interface}; ip addr add {address}/{prefix} dev {device}");
        Some(Told::new(
            Found::AddressOnOtherDevice,
            clause,
            meaning,
            vec![search.command(self.side, format!("sh -c '{mend}'"))],
        ))
    }

    fn no_arp(&self) -> Option<Told> {
        let device =
            self.search.device(self.side, self.at).filter(|device| device.noarp && self.search.address.is_ipv4())?;
        let name = &device.interface;
        let clause = format!("{}, which does no ARP (NOARP)", self.head);
        let meaning = format!("{name} neither asks nor answers.");
        Some(Told::new(
            Found::ToldNotToAnswer,
            clause,
            meaning,
            vec![self.search.command(self.side, format!("ip link set dev {name} arp on"))],
        ))
    }

    /// Recognizes what `arp_ignore` keeps from answering (`Documentation/networking/ip-sysctl.rst`).
    fn arp_ignore(&self) -> Option<Told> {
        let (path, value) = self.setting("arp_ignore").filter(|(_, value)| *value > 0)?;
        let elsewhere = self.holder.interface != self.at;
        // It may ask from an address of another device of its own.
        let asked_from = self.search.packets(self.side, Asks, In).next().map(|packet| packet.asker);
        let asker = asked_from.or_else(|| self.search.own().and_then(|own| own.address));
        let near =
            asker.is_none_or(|asker| self.holder.address.is_some_and(|own| shares(own, asker, self.holder.prefix)));
        let why = match value {
            8 => "answers for no address".to_owned(),
            1 | 2 if elsewhere => {
                format!(
                    "answers only for addresses of the device that is asked, and it is on {}",
                    self.holder.interface
                )
            }
            2 if !near => match asker {
                Some(asker) => format!("answers only those of the address's own net, and {asker} is not in that"),
                None => "answers only those of the address's own net".to_owned(),
            },
            3 => "does not answer for addresses of scope host".to_owned(),
            _ => return None,
        };
        let told = Told::new(Found::ToldNotToAnswer, String::new(), "", Vec::new());
        Some(self.by_setting(told, &path, value, &format!("so that it {why}"), 0))
    }

    /// Recognizes an address of another device than the one that is asked, for which IPv6 does not answer.
    fn on_other_device(&self) -> Option<Told> {
        let (search, holder) = (self.search, self.holder);
        if search.address.is_ipv4() || holder.interface == self.at {
            return None;
        }
        let other = &holder.interface;
        let clause = format!(
            "{}, and the address is on {other}: IPv6 answers only for addresses of the device that is asked",
            self.head
        );
        let meaning =
            format!("Either move the address to {}, or give the sender a route via an address that is there.", self.at);
        let (address, at) = (search.address, self.at);
        let commands = vec![
            search.command(self.side, format!("ip -6 addr add {address}/128 dev {at}")),
            search.command(self.side, format!("ip -6 addr show dev {other}")),
        ];
        Some(Told::new(Found::AddressOnOtherDevice, clause, meaning, commands))
    }

    /// Recognizes `arp_filter`, with which a device answers only if the asker is reached by it.
    fn arp_filter(&self) -> Option<Told> {
        let (path, value) = self.setting("arp_filter").filter(|(_, value)| *value > 0)?;
        let back = self.way_back()?;
        let told = Told::new(Found::ToldNotToAnswer, String::new(), "", Vec::new());
        let why = format!("so that {} does not answer for what is reached by {back}", self.at);
        Some(self.by_setting(told, &path, value, &why, 0))
    }

    /// Recognizes a question that strict reverse path filtering refuses, as its sender would be reached by another
    /// device.
    fn reverse_path(&self) -> Option<Told> {
        let (path, value) = self.setting("rp_filter").filter(|(_, value)| *value == 1)?;
        let back = self.way_back()?;
        let told = Told::new(Found::ToldNotToAnswer, String::new(), "", Vec::new());
        let why = format!("and the asker is reached by {back}");
        Some(self.by_setting(told, &path, value, &why, 2))
    }

    /// Recognizes an asker whose own address is one of the host that is asked.
    fn own_asker(&self) -> Option<Told> {
        let asker = self.search.own().and_then(|own| own.address)?;
        let twin = self.search.evidence.holders(self.side, asker).next()?;
        let clause = format!("{}, which has the asker's own address {asker} too, on {}", self.head, twin.interface);
        let meaning = "A question from one's own address is not answered: two hosts have it.";
        let commands = vec![self.search.command(self.side, format!("ip addr show dev {}", twin.interface))];
        Some(Told::new(Found::SeveralHosts, clause, meaning, commands))
    }

    /// Recognizes rules that lead packets for the address past the table that says that it is this host's own.
    fn not_local(&self) -> Option<Told> {
        let search = self.search;
        let found = search.evidence.misled(self.side, search.address)?;
        let clause = format!("{}, where {}", self.head, found.clause);
        let commands = found.commands.into_iter().map(|command| search.command(self.side, command)).collect();
        Some(Told::new(Found::AddressNotUsable, clause, found.meaning, commands))
    }

    /// Recognizes an asker that changes the hop limit of what it sends.
    fn hop_limit(&self) -> Option<Told> {
        let search = self.search;
        let (from, to) = (!search.address.is_ipv4()).then(|| set_hop_limit(search.evidence, search.asker)).flatten()?;
        let asker = search.asker_name();
        let clause = format!(
            "{}, which has the address and gave no answer; {asker} changes the hop limit of what it sends after routing ({from} \
             became {to}), and a solicitation is ignored unless that is 255",
            self.head
        );
        let commands = HOP_LIMIT_RULES.map(|command| search.command(search.asker, command)).into();
        Some(Told::new(Found::Silent, clause, HOP_LIMIT, commands))
    }

    fn unexplained(&self) -> Told {
        let search = self.search;
        let clause = format!("{}, which has the address on {} and gave no answer", self.head, self.holder.interface);
        let (command, meaning) = if search.address.is_ipv4() {
            ("sysctl -a --pattern 'ipv4.conf.*.arp_'".to_owned(), "Nothing that was looked up there says why.")
        } else {
            (format!("ip -6 addr show dev {}", self.holder.interface), "Nothing that was looked up there says why.")
        };
        let commands = vec![search.command(self.side, command), search.command(self.side, "nft list ruleset")];
        Told::new(Found::Silent, clause, meaning, commands)
    }

    fn setting(&self, name: &str) -> Option<(String, u32)> {
        self.search.address.is_ipv4().then(|| self.search.setting(self.side, self.at, name)).flatten()
    }

    /// Returns the device by which the asker is reached, if the questions came in by another one, or says that there is
    /// none.
    fn way_back(&self) -> Option<String> {
        let asker = self.search.packets(self.side, Asks, In).next().map(|packet| packet.asker)?;
        let route = self.search.evidence.findings(self.side).find_map(|finding| match finding {
            Finding::Route { to, errno, interface } if *to == asker => Some((errno.is_some(), interface.clone())),
            _ => None,
        });
        match route? {
            (true, _) => Some("no device: there is no route".to_owned()),
            (false, Some(device)) if device != self.at => Some(device),
            _ => None,
        }
    }

    fn by_setting(&self, told: Told, path: &str, value: u32, why: &str, mended: u32) -> Told {
        let dotted = sysctl::name(path);
        let commands = vec![self.search.command(self.side, format!("sysctl -w {dotted}={mended}"))];
        let of = whose(self.search.evidence, self.side);
        Told {
            clause: format!("{}, where {dotted}={value}, {why}", self.head),
            meaning: format!("It is {of} setting that keeps it from answering."),
            commands,
            setting: Some(SettingSaid { path: path.to_owned(), value: value.to_string() }),
            ..told
        }
    }
}

/// What it means that a rule sets the hop limit of neighbour discovery.
pub(super) const HOP_LIMIT: &str = "A rule that sets the hop limit must leave neighbour discovery alone (RFC 4861 section 7.1.1), as \
                                    with icmpv6 type != { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, \
                                    nd-router-advert }.";

/// What shows such rules.
pub(super) const HOP_LIMIT_RULES: [&str; 2] =
    ["nft list ruleset | grep -n -B6 hoplimit", "ip6tables-save | grep -n HL"];

/// Returns to what the postrouting hook of `side` changes the hop limit of the run's packets, if it does.
pub(super) fn set_hop_limit(evidence: &Evidence, side: Side) -> Option<(u8, u8)> {
    let leg = evidence.first_leg();
    let ttl = |hop: Hop| {
        let seen = match evidence.place(side) {
            Some(place) => hooks::seen(place, hop, leg),
            None => evidence.host(side).hops.get(&hop)?.seen(leg),
        };
        seen?.values().next().map(|passage| passage.ttl)
    };
    let (from, to) = (ttl(Hop::NfPostroutingFirst)?, ttl(Hop::NfPostroutingLast)?);
    (from != to).then_some((from, to))
}

//! What two ends of a tunnel disagree about: where one sends, and what the other accepts.

use std::net::IpAddr;

use super::{StopCase, StopExplanation, ttl};
use crate::{
    diagnosis::{document::IcmpSaid, path::Side, places::DropPoint, tunnel_layer::TunnelLayer},
    model::trace::{FdbEntry, Finding, TunnelFacts, plain_function, tunnel::ANY_ADDRESS},
};
use probe_ebpf::{Echo, Hop};

/// Explains a stop where packets of a tunnel are not made, go to the wrong host, or are not accepted there.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let ends = Ends::of(case)?;
    match case.stop.place {
        DropPoint::Encapsulation => ends.not_made(),
        DropPoint::FragmentOut => ends.too_long(),
        DropPoint::Decapsulation => ends.not_taken(case),
        DropPoint::Neighbour
        | DropPoint::Network
        | DropPoint::RouteIn
        | DropPoint::NfForward
        | DropPoint::Call
        | DropPoint::IpHeader => ends.elsewhere().or_else(|| ends.lost()),
        _ => None,
    }
}

/// Both ends of the stretch.
struct Ends<'a> {
    case: &'a StopCase<'a>,
    layer: &'a TunnelLayer,
    /// The device that makes the packets.
    tunnel: &'a TunnelFacts,
    from: Side,
    to: Side,
}

impl<'a> Ends<'a> {
    fn of(case: &'a StopCase<'a>) -> Option<Self> {
        let layer = case.evidence.layer.as_ref()?;
        let (from, to) = match layer.leg {
            Echo::Request => (Side::Local, Side::Peer),
            Echo::Reply => (Side::Peer, Side::Local),
        };
        Some(Self { case, layer, tunnel: &layer.tunnel, from, to })
    }

    fn name(&self, side: Side) -> String {
        self.case.evidence.name(side)
    }

    /// Returns the entry of the forwarding table that packets took, or would take.
    fn entry(&self) -> Option<&'a FdbEntry> {
        let of = |lladdr: &str| self.tunnel.entry_for(lladdr);
        self.layer.lladdr.as_deref().and_then(of).or_else(|| of(ANY_ADDRESS))
    }

    /// Returns what makes packets go to the address to which they go.
    fn chosen_by(&self) -> String {
        let device = &self.tunnel.interface;
        match self.entry() {
            Some(entry) if Some(entry.to) == self.layer.to => {
                format!("the forwarding entry of {device} for {}", entry.lladdr)
            }
            _ => device.clone(),
        }
    }

    /// Returns the command that sends packets to `to` instead.
    fn send_to(&self, to: &str) -> String {
        let device = &self.tunnel.interface;
        match (self.entry(), &self.layer.lladdr) {
            // The kernel replaces no entry of this address, but the device's own remote address, which made it.
            (Some(entry), _) if entry.lladdr == ANY_ADDRESS && self.tunnel.remote == Some(entry.to) => {
                format!("ip link set dev {device} type {} remote {to}", self.tunnel.kind)
            }
            (Some(entry), _) if entry.lladdr == ANY_ADDRESS => {
                format!("bridge fdb append {ANY_ADDRESS} dev {device} dst {to}")
            }
            (Some(entry), _) => format!("bridge fdb replace {} dev {device} dst {to}", entry.lladdr),
            (None, Some(lladdr)) if self.tunnel.remote.is_none() => {
                format!("bridge fdb append {lladdr} dev {device} dst {to}")
            }
            (None, _) => format!("ip link set dev {device} type {} remote {to}", self.tunnel.kind),
        }
    }

    /// Returns the address at which the far end takes packets.
    fn far_address(&self) -> Option<IpAddr> {
        self.layer.far.as_ref()?.local
    }

    fn told(&self, on: Side, detail: String, meaning: String, commands: Vec<String>) -> Option<StopExplanation> {
        Some(StopExplanation { detail: Some(detail), meaning, commands, on: Some(on), ..StopExplanation::default() })
    }

    fn not_made(&self) -> Option<StopExplanation> {
        let device = &self.tunnel.interface;
        let look = format!("ip -d -s link show dev {device}");
        let bridged = matches!(self.tunnel.kind.as_str(), "vxlan" | "gretap" | "geneve");
        if bridged
            && self.tunnel.has_whole_table()
            && self.entry().is_none()
            && self.tunnel.remote.is_none()
            && !self.tunnel.external
        {
            let whom = self.layer.lladdr.as_deref().unwrap_or("their link-layer address");
            let to = self.far_address().map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
            return self.told(
                self.from,
                format!("{device} has no forwarding entry for {whom}, and no default host"),
                format!("The forwarding table of {device} says for each link-layer address to which host its packets are sent."),
                vec![self.send_to(&to), format!("bridge fdb show dev {device}"), look],
            );
        }
        let Some(to) = self.layer.to else {
            let reason = self.case.stop.cause.reason.as_deref().unwrap_or("no reason given");
            return self.told(
                self.from,
                format!("{device}: {reason}"),
                format!("The counters of {device} tell more."),
                vec![look, format!("bridge fdb show dev {device}")],
            );
        };
        let route = self.case.evidence.findings(self.from).find_map(|finding| match finding {
            Finding::Route { to: asked, errno, interface } if *asked == to => Some((errno.clone(), interface.clone())),
            _ => None,
        });
        let (detail, meaning) = match route {
            Some((Some(errno), _)) => (
                format!("there is no route to {to} ({errno}), to which {} sends them", self.chosen_by()),
                format!("The packets of {device} are routed like any others, and {to} cannot be reached from here."),
            ),
            Some((None, Some(out))) if out == *device => (
                format!("{to} is routed into {device} itself, whose packets are to be sent there"),
                "The other end of a tunnel must be reached outside of it, by a route of its own.".to_owned(),
            ),
            _ if self.lacks_local() => (
                format!(
                    "{device} should send from {}, which is not an address of {}",
                    self.tunnel.local.map(|local| local.to_string()).unwrap_or_default(),
                    self.name(self.from)
                ),
                format!("{device} was made with that local address, and it was removed or changed."),
            ),
            _ => (
                format!("{device} could not send them to {to}"),
                format!("The counters of {device} and the route to {to} tell more."),
            ),
        };
        let version = if to.is_ipv4() { "-4" } else { "-6" };
        self.told(self.from, detail, meaning, vec![format!("ip {version} route get {to}"), look])
    }

    /// Reports whether the local address of the tunnel is none of its host's.
    fn lacks_local(&self) -> bool {
        self.case.evidence.findings(self.from).any(|finding| {
            matches!(finding, Finding::Address { address, own: false } if Some(*address) == self.tunnel.local)
        })
    }

    /// Explains a stop at the host to which they came.
    fn not_taken(&self, case: &StopCase<'_>) -> Option<StopExplanation> {
        let (device, to) = (&self.tunnel.interface, self.layer.to?);
        let (near, there) = (self.name(self.from), self.name(self.to));
        if let Some(elsewhere) = self.elsewhere() {
            return Some(elsewhere);
        }
        let Some(far) = &self.layer.far else {
            return self.told(
                self.to,
                format!("{there} has no device of the kind {}", self.tunnel.kind),
                "Nothing there accepts the packets of this tunnel.".to_owned(),
                vec![format!("ip -d link show type {}", self.tunnel.kind)],
            );
        };
        let other = &far.interface;
        let show = |name: &str| format!("ip -d link show dev {name}");
        if !far.up {
            return self.told(
                self.to,
                format!("{other} of {there} is set down"),
                "A tunnel that is down accepts no packets.".to_owned(),
                vec![format!("ip link set dev {other} up"), show(other)],
            );
        }
        if let (Some(sent), Some(taken)) = (self.tunnel.port, far.port)
            && sent != taken
        {
            return self.told(
                self.to,
                format!("{device} of {near} sends to UDP port {sent}, and {other} of {there} listens on {taken}"),
                "Both ends must use the same port, which a device keeps: one of the two has to be recreated."
                    .to_owned(),
                [vec![show(other)], anew(&TunnelFacts { port: Some(sent), ..far.clone() })].concat(),
            );
        }
        if self.tunnel.vni != far.vni {
            let number = |facts: &TunnelFacts| facts.vni.map_or_else(|| "none".to_owned(), |vni| vni.to_string());
            let word = self.tunnel.number_word();
            return self.told(
                self.to,
                format!(
                    "{device} of {near} has {word} {}, and {other} of {there} {}",
                    number(self.tunnel),
                    number(far)
                ),
                format!(
                    "Packets of another {word} are for another network: one of the two devices has to be recreated."
                ),
                [vec![show(other)], anew(&TunnelFacts { vni: self.tunnel.vni, ..far.clone() })].concat(),
            );
        }
        if self.tunnel.lladdr.is_some() && self.tunnel.lladdr == far.lladdr {
            let lladdr = far.lladdr.as_deref().unwrap_or_default();
            return self.told(
                self.to,
                format!("{other} of {there} has the link-layer address of {device} of {near}, {lladdr}"),
                "A tunnel discards what seems to come from itself.".to_owned(),
                vec![format!("ip link set dev {other} address NEW"), show(other)],
            );
        }
        let unchecked = to.is_ipv6() && self.tunnel.sends_unchecked && !far.takes_unchecked;
        if unchecked && case.stop.cause.reason.as_deref() == Some("UDP_CSUM") {
            return self.told(
                self.to,
                format!(
                    "{device} of {near} sends without a UDP checksum (udp6zerocsumtx), and {other} of {there} does not accept that"
                ),
                format!(
                    "Over IPv6 a device takes packets without a checksum only if it is made with udp6zerocsumrx: that of {there} has to be, \
                     or that of {near} without udp6zerocsumtx."
                ),
                [vec![show(other)], anew(&TunnelFacts { takes_unchecked: true, ..far.clone() })].concat(),
            );
        }
        let reason = case.stop.cause.reason.as_deref().unwrap_or("no reason given");
        self.told(
            self.to,
            format!("{reason}: {other} of {there} did not accept what was sent to {to}"),
            format!("The counters of {other} tell more."),
            vec![format!("ip -d -s link show dev {other}")],
        )
    }

    /// Explains a loss on the way to the far end.
    fn lost(&self) -> Option<StopExplanation> {
        let said = self.case.stop.cause.icmp.as_ref();
        let freed =
            self.case.gap.events(self.case.evidence).iter().any(|event| {
                event.drop.reason == "IP_INHDR" && plain_function(&event.drop.function).ends_with("_forward")
            });
        if let Some(few) = self.few_hops().filter(|_| freed || self.case.stop.place == DropPoint::Network) {
            return Some(few);
        }
        (self.case.stop.place == DropPoint::Network).then_some(())?;
        let (device, near) = (&self.tunnel.interface, self.name(self.from));
        let to = self.layer.to?;
        let try_it = format!("probe diagnose {to} --walk");
        if let Some(said) = said {
            return Some(self.refused(said, to, try_it));
        }
        let out = self.case.evidence.crossed(self.from, self.layer.leg, false);
        let below = self.case.evidence.devices(self.from).find(|facts| facts.interface == out);
        if below.and_then(|facts| facts.kind.as_deref()).is_some_and(|kind| kind == self.tunnel.kind) {
            return self.told(
                self.from,
                format!("they left {near} by {out}, which is a tunnel itself: what carries its packets is not followed from here"),
                format!("A diagnosis to {to} has {out} for its tunnel, and follows what carries that."),
                vec![format!("probe diagnose {to}"), format!("ip -d link show dev {out}")],
            );
        }
        // Those are read only where the probes themselves are inside.
        if self.tunnel.is_sealed() || self.layer.depth > 1 {
            return self.told(
                self.from,
                format!("ICMP errors about packets of {device} go to {near}, where nobody told of them"),
                format!("They are lost between the two hosts. What carries {device} can be tried by itself."),
                vec![try_it],
            );
        }
        if let (Some((passes, fails)), Some(around)) = (self.layer.lengths, self.layer.around()) {
            return self.told(
                self.from,
                format!(
                    "up to {passes} bytes inside pass, {} with what {device} puts around them ({around}), and {fails} do not; no ICMP \
                     error about that came to {near}",
                    passes + around
                ),
                format!(
                    "A link on the way to {to} takes no more, or loses fragments, and nobody says so. With an MTU of {passes} at {device} \
                     and at what sends into it nothing is too long."
                ),
                vec![format!("ip link set dev {device} mtu {passes}"), format!("tracepath -n {to}")],
            );
        }
        self.told(
            self.from,
            format!("no ICMP error that quotes them came to {near}"),
            format!(
                "They are lost between the two hosts, and nobody reported why; errors that quote less than a whole probe cannot be \
                 told apart from those about others. What carries {device} can be tried by itself."
            ),
            vec![try_it],
        )
    }

    /// Explains packets that left with a TTL that is too low, if the device itself is told to send them so.
    fn few_hops(&self) -> Option<StopExplanation> {
        let (device, near) = (&self.tunnel.interface, self.name(self.from));
        let probe = *self.case.gap.probes.first()?;
        let ttl = ttl::at(self.case, self.from, Hop::Xmit, self.layer.leg, probe).filter(|ttl| *ttl < ttl::FEW)?;
        (ttl == self.tunnel.ttl).then_some(())?;
        self.told(
            self.from,
            format!("they left {near} with TTL {ttl}, as {device} is told to send them"),
            format!(
                "Each router takes one off the TTL: {ttl} may be too few for the way to the far end of the tunnel."
            ),
            vec![
                format!("ip link set dev {device} type {} ttl 64", self.tunnel.kind),
                format!("ip -d link show dev {device}"),
            ],
        )
    }

    /// Explains packets about which a router told the host that makes them.
    fn refused(&self, said: &IcmpSaid, to: IpAddr, try_it: String) -> StopExplanation {
        let (device, near, router) = (&self.tunnel.interface, self.name(self.from), said.from);
        let version = if to.is_ipv4() { "-4" } else { "-6" };
        let length = self.layer.length().filter(|_| said.is_too_big());
        let route = format!("ip {version} route get {to}");
        let (meaning, commands) = match self.layer.around().filter(|_| said.is_too_big()) {
            Some(around) => (
                format!(
                    "{router} passes on no packet of that length, and packets of {device} must not be fragmented. The MTU of \
                     {device} must be {around} less than that of the narrowest link on its way."
                ),
                vec![route, format!("ip -d link show dev {device}"), format!("tracepath -n {to}")],
            ),
            None => (
                format!(
                    "{router} is on the way to the far end of {device}. It tells {near}, which sends the packets of the tunnel; the \
                     sender of the probes inside is never told."
                ),
                vec![try_it, route],
            ),
        };
        StopExplanation { detail: length, meaning, commands, on: Some(self.from), ..StopExplanation::default() }
    }

    /// Explains packets that the host that makes them cannot send in one piece.
    fn too_long(&self) -> Option<StopExplanation> {
        let stop = &self.case.stop;
        (stop.whose.side() == Some(self.from)).then_some(())?;
        let (length, around, to) = (self.layer.length()?, self.layer.around()?, self.layer.to?);
        let (device, near) = (&self.tunnel.interface, self.name(self.from));
        let out = self.case.evidence.crossed(self.from, self.layer.leg, false);
        let learned = self.case.evidence.findings(self.from).find_map(|finding| match finding {
            Finding::PathMtu { to: about, mtu, .. } if *about == to => Some(*mtu),
            _ => None,
        });
        let own = self.case.evidence.devices(self.from).find(|facts| facts.interface == out && facts.mtu > 0);
        let own = own.map(|facts| facts.mtu);
        let inner = self.layer.inner_bytes?;
        let own = own.or(self.tunnel.lower_mtu.filter(|_| self.tunnel.lower.as_deref() == Some(out)));
        let fits = |mtu: u32| mtu < inner + around;
        let (limit, narrow) = match (own.filter(|mtu| fits(*mtu)), learned.filter(|mtu| fits(*mtu))) {
            (_, Some(mtu)) if own.is_none_or(|own| mtu < own) => (format!("the path MTU to {to} is {mtu}"), Some(mtu)),
            (Some(mtu), _) => (format!("the MTU of {out} is {mtu}"), Some(mtu)),
            _ => (format!("that is longer than {out} or the path to {to} takes"), None),
        };
        let version = if to.is_ipv4() { "-4" } else { "-6" };
        let most = narrow.and_then(|mtu| mtu.checked_sub(around));
        let mend = most.map(|most| format!("ip link set dev {device} mtu {most}"));
        let meaning = format!(
            "{near} must not fragment packets of {device} (DF is set on them). An MTU of {device} and of what sends into it of {} \
             leaves room for them.",
            most.map_or_else(|| format!("{around} less than that"), |most| most.to_string())
        );
        let look = [format!("ip {version} route get {to}"), format!("ip -d link show dev {device}")];
        self.told(self.from, format!("{length}, and {limit}"), meaning, mend.into_iter().chain(look).collect())
    }

    /// Explains that they go to an address that is not that of the far end's tunnel.
    fn elsewhere(&self) -> Option<StopExplanation> {
        let (far, to) = (self.layer.far.as_ref()?, self.layer.to?);
        let there = self.name(self.to);
        let group = to.is_multicast();
        if let Some(local) = far.local.filter(|local| *local != to && !group) {
            return self.told(
                self.from,
                format!("{} sends them to {to}, and {} of {there} is at {local}", self.chosen_by(), far.interface),
                format!("The packets of {} go to another host than the far end of the tunnel.", self.tunnel.interface),
                vec![self.send_to(&local.to_string()), format!("bridge fdb show dev {}", self.tunnel.interface)],
            );
        }
        let gone = self
            .case
            .evidence
            .findings(self.to)
            .any(|finding| matches!(finding, Finding::Address { address, own: false } if *address == to));
        (gone && far.local == Some(to)).then(|| StopExplanation {
            detail: Some(format!(
                "{to}, the local address of {} of {there}, is not an address of {there}",
                far.interface
            )),
            meaning: format!(
                "The tunnel of {there} sends from {to} and accepts what is sent to it, and that address was removed."
            ),
            commands: vec!["ip -br addr".to_owned(), format!("ip -d link show dev {}", far.interface)],
            on: Some(self.to),
            ..StopExplanation::default()
        })
    }
}

/// Returns the commands that recreate the device. Its addresses and tables go with the old one.
fn anew(device: &TunnelFacts) -> Vec<String> {
    let TunnelFacts { interface, kind, vni, port, local, remote, lower, learning, .. } = device;
    let mut text = format!("ip link add {interface} type {kind}");
    let mut add = |word: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {word} {value}"));
        }
    };
    add("id", vni.map(|vni| vni.to_string()));
    add("dev", lower.clone());
    add("local", local.map(|local| local.to_string()));
    add("remote", remote.map(|remote| remote.to_string()));
    add("dstport", port.map(|port| port.to_string()));
    let words = [
        (kind == "vxlan" && !learning, " nolearning"),
        (device.sends_unchecked, " udp6zerocsumtx"),
        (device.takes_unchecked, " udp6zerocsumrx"),
    ];
    words.iter().filter(|(given, _)| *given).for_each(|(_, word)| text.push_str(word));
    vec![format!("ip link del {interface}"), text]
}

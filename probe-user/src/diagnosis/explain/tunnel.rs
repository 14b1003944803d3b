//! What two ends of a tunnel disagree about: where one sends, and what the other accepts.

use std::net::IpAddr;

use super::{StopCase, StopExplanation, ttl};
use crate::{
    diagnosis::{path::Side, places::DropPoint, tunnel_layer::TunnelLayer},
    model::trace::{FdbEntry, Finding, TunnelFacts, tunnel::ANY_ADDRESS},
};
use probe_ebpf::{Echo, Hop};

/// Explains a stop where packets of a tunnel are not made, go to the wrong host, or are not accepted there.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let ends = Ends::of(case)?;
    match case.stop.place {
        DropPoint::Encapsulation => ends.not_made(),
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
            && self.tunnel.fdb.is_some()
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
        (self.case.stop.place == DropPoint::Network).then_some(())?;
        let (device, near) = (&self.tunnel.interface, self.name(self.from));
        let probe = *self.case.gap.probes.first()?;
        let ttl = ttl::at(self.case, self.from, Hop::Xmit, self.layer.leg, probe).filter(|ttl| *ttl < ttl::FEW);
        if let Some(ttl) = ttl.filter(|ttl| *ttl == self.tunnel.ttl) {
            return self.told(
                self.from,
                format!("they left {near} with TTL {ttl}, as {device} is told to send them"),
                format!(
                    "Each router takes one off the TTL: {ttl} may be too few for the way to the far end of the tunnel."
                ),
                vec![
                    format!("ip link set dev {device} type {} ttl 64", self.tunnel.kind),
                    format!("ip -d link show dev {device}"),
                ],
            );
        }
        let to = self.layer.to?;
        let (detail, meaning) = if self.case.stop.cause.icmp.is_some() {
            (
                format!("the ICMP error is about the packets of {device} and went to {near}"),
                format!("What its sender does with packets to {to} decides, whatever they carry."),
            )
        } else {
            (
                format!("ICMP errors about packets of {device} go to {near}, where nobody told of them"),
                format!("They are lost between the two hosts. What carries {device} can be tried by itself."),
            )
        };
        self.told(self.from, detail, meaning, vec![format!("probe diagnose {to} --walk")])
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
    if kind == "vxlan" && !learning {
        text.push_str(" nolearning");
    }
    vec![format!("ip link del {interface}"), text]
}

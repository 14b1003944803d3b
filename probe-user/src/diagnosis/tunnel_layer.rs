//! A stretch of the path on which the packets of a tunnel travel: who sends them to whom, and which steps they take.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};
use serde::{Deserialize, Serialize};

use super::{
    Evidence, between,
    station::{PathStep, Requirement, Side, Station, step},
};
use crate::model::trace::{TunnelFacts, tun_program::names};

/// The stretch of the path on which the packets of a tunnel travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelLayer {
    /// The leg of the probes inside.
    pub leg: Echo,
    /// The device that encapsulates them.
    pub tunnel: TunnelFacts,
    /// The device that decapsulates them, if that host was watched.
    pub far: Option<TunnelFacts>,
    /// The address that they are sent from.
    pub from: Option<IpAddr>,
    /// The address that they are sent to.
    pub to: Option<IpAddr>,
    /// Who sends the packets inside, if that is known.
    pub inner_from: Option<IpAddr>,
    /// Whom the packets inside are for, if that is known.
    pub inner_to: Option<IpAddr>,
    /// Bytes of each packet inside, from its IP header on, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_bytes: Option<u32>,
    /// The longest packet inside that was answered and the shortest that was not, in bytes from its IP header on, if other lengths
    /// were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<(u32, u32)>,
    /// How many layers of tunnels its packets are: 1 if the probes themselves are inside.
    #[serde(default = "first")]
    pub depth: u8,
    /// The link-layer address to which the frames inside are sent, if that is known.
    pub lladdr: Option<String>,
}

fn first() -> u8 {
    super::around::FIRST
}

/// The way out of a host. Programs at the device that carries the tunnel are not watched: May, and blind.
const OUT: [(Hop, Requirement); 8] = [
    (Hop::NfOutputFirst, Requirement::Must),
    (Hop::NfOutputLast, Requirement::Must),
    (Hop::NfPostroutingFirst, Requirement::Must),
    (Hop::NfPostroutingLast, Requirement::Must),
    (Hop::CgroupOut, Requirement::May),
    (Hop::TcOut, Requirement::May),
    (Hop::DevQueue, Requirement::Must),
    (Hop::Xmit, Requirement::Must),
];

/// The way into a host, up to the socket of the tunnel.
const IN: [(Hop, Requirement); 7] = [
    (Hop::XdpIn, Requirement::May),
    (Hop::NetifIn, Requirement::Must),
    (Hop::TcIn, Requirement::May),
    (Hop::NfPreroutingFirst, Requirement::Must),
    (Hop::NfPreroutingLast, Requirement::Must),
    (Hop::NfInputFirst, Requirement::Must),
    (Hop::NfInputLast, Requirement::Must),
];

impl TunnelLayer {
    /// Returns every step of the packets that carry the probes, from the device that makes them to the one that opens them.
    pub(super) fn journey(&self, evidence: &Evidence) -> Vec<PathStep> {
        let ends = match (self.leg, evidence.two_sided()) {
            (Echo::Request, true) => [Side::Local, Side::Peer],
            (Echo::Reply, true) => [Side::Peer, Side::Local],
            (_, false) => [Side::Local; 2],
        };
        let back = if evidence.two_sided() { self.leg } else { Echo::Reply };
        let seals = !evidence.two_sided() && self.tunnel.is_sealed();
        let hops = |leg: Echo, side: Side, hops: &[(Hop, Requirement)]| -> Vec<PathStep> {
            hops.iter().map(|(hop, duty)| step(leg, side, Station::Hop(*hop), *duty)).collect()
        };
        let mut steps = vec![step(self.leg, ends[0], Station::Encap, Requirement::Must)];
        steps.extend(hops(self.leg, ends[0], &OUT));
        steps.extend(between::steps(evidence, self.leg));
        if seals {
            // What another host sends back cannot be recognized.
            return steps;
        }
        if back != self.leg {
            steps.extend(between::steps(evidence, back));
        }
        steps.extend(hops(back, ends[1], &IN));
        steps.push(step(back, ends[1], Station::Decap, Requirement::Must));
        steps
    }

    /// Returns how long its packets are, over the IP version of their own addresses: `1428 bytes inside are 1478 with what
    /// flannel.1 puts around them (50)`; `None` if that is not known.
    pub(super) fn length(&self) -> Option<String> {
        let around = self.around()?;
        let inside = self.inner_bytes?;
        let device = &self.tunnel.interface;
        Some(format!("{inside} bytes inside are {} with what {device} puts around them ({around})", inside + around))
    }

    /// Returns how many bytes its packets have around the packet inside; `None` if that is not known.
    pub(super) fn around(&self) -> Option<u32> {
        let to = self.to.or(self.from).filter(|_| !self.tunnel.is_sealed())?;
        Some(self.tunnel.overhead(to.is_ipv6()))
    }

    /// Returns the same for the packets that come back.
    pub(super) fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// Returns `flannel.1 (192.168.6.1 to 192.168.6.2, VNI 1)`.
    pub(super) fn name(&self) -> String {
        let mut facts = Vec::new();
        if let (Some(from), Some(to)) = (self.from, self.to) {
            facts.push(format!("{from} to {to}"));
        }
        if let Some(vni) = self.tunnel.vni {
            facts.push(format!("{} {vni}", self.tunnel.number_word()));
        }
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        let device = &self.tunnel.interface;
        if self.tunnel.is_sealed() {
            return format!("{} behind the tun device {device}{facts}", names(&self.tunnel.programs));
        }
        format!("{device}{facts}")
    }
}

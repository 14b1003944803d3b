//! What a document says about where packets were sent: the neighbour that was searched for, and the tunnel that carried
//! them.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::path::Checkpoint;
use crate::model::trace::{NeighbourHop, NeighbourKind};

/// What became of finding the neighbour of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourSaid {
    /// The address that is asked for: the next hop.
    pub address: IpAddr,
    /// The device by which it is asked for.
    pub interface: String,
    /// What ended it.
    pub finding: NeighbourFinding,
    /// The link-layer address in the entry; none: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// Questions and answers by where they were seen, in the order of the way.
    pub steps: Vec<NeighbourStep>,
}

/// How many packets of ARP or neighbour discovery were seen at one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourStep {
    /// In which of the places, by its name.
    pub place: String,
    /// At which of its devices.
    pub interface: Option<String>,
    /// Questions or answers.
    pub kind: NeighbourKind,
    /// Leaving, entering, or freed.
    pub hop: NeighbourHop,
    /// How many.
    pub packets: usize,
}

/// What ended the search for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourFinding {
    /// The asking host drops its own questions.
    QuestionDroppedHere,
    /// A host that they reached drops them.
    QuestionDroppedThere,
    /// The host that was asked drops its own answers.
    AnswerDroppedThere,
    /// The host that asked drops the answers.
    AnswerDroppedHere,
    /// A bridge between the two did not pass the questions on.
    BridgeHoldsThem,
    /// They leave by a tunnel, and do not come out of it where the address is.
    LostInTunnel,
    /// Both hosts have the same link-layer address.
    SharedLinkAddress,
    /// Answers left, and did not arrive.
    AnswerLost,
    /// The answer came in by another device.
    AnswerAtOtherDevice,
    /// The device is a port of another one, which takes what comes in.
    DeviceIsAPort,
    /// One device is made on the other, or both on a third one, and they cannot reach each other.
    DevicesOfOne,
    /// The host that has the address is configured not to answer.
    ToldNotToAnswer,
    /// The address is there, and may not be used.
    AddressNotUsable,
    /// The address is on another device of the host that was asked.
    AddressOnOtherDevice,
    /// The address is on another link, or in another namespace.
    AddressElsewhere,
    /// The route says that the address is on this link, and it is not.
    PrefixTooWide,
    /// The asking host is configured to ask nobody.
    AsksNobody,
    /// A net of another device covers an address that packets came from, and is asked for there.
    NetElsewhere,
    /// A router has the address behind it, and does not answer for it.
    NotProxied,
    /// The route has no gateway, so that every address is asked for on the link.
    NoGateway,
    /// The gateway is not there.
    GatewayGone,
    /// The host that was asked has the address and did not answer.
    Silent,
    /// Nobody answers.
    Nobody,
    /// The entry has another link-layer address than the host that has the address.
    WrongEntry,
    /// Several hosts have the address.
    SeveralHosts,
}

/// Who answered in the far end's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OtherHost {
    /// Its link-layer address, as the sender's entry for the next hop has it; none: there is no such entry.
    pub lladdr: Option<String>,
    /// The network namespace of a watched kernel that it is; none: it is not known.
    pub place: Option<String>,
    /// The link-layer address of the far end's own device with the target's address; none: it has none.
    pub peer_lladdr: Option<String>,
    /// The program that holds the tun device by which the probes left and the answers came in; none: they went by no such
    /// device, or nobody was found who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// The packets of a tunnel inside of which probes stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CarriedBy {
    /// The device of the tunnel.
    pub interface: String,
    /// Its kind, e.g. `vxlan`.
    pub kind: String,
    /// Its number.
    pub vni: Option<u32>,
    /// The source address of its packets.
    pub from: Option<IpAddr>,
    /// Their destination address.
    pub to: Option<IpAddr>,
    /// The last hop that saw them.
    pub last_seen: Checkpoint,
    /// The first hop that watched and did not see them.
    pub first_missing: Checkpoint,
}

//! A run as a file: what differs from ten healthy echoes between two hosts, and what the verdict must say.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_user::{
    diagnosis::{
        Evidence, ProbeMode, Responder, Target, Walk,
        path::{Checkpoint, PathStep, Requirement, Side, Station, journey},
    },
    model::{
        attach::XdpAttachment,
        trace::{
            Accounting, Drop, Finding, HeardError, HopTrace, HostFacts, HostTrace, IcmpError, NeighbourHop,
            NeighbourKind, NeighbourPacket, ProbePassage, Received, SenderTrace, SentProbe,
        },
    },
};
use serde::Deserialize;

/// The whole file. Every field but `title` and `expect` may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// What it shows.
    pub(crate) title: String,
    /// 4 or 6.
    #[serde(default = "four")]
    pub(crate) family: u8,
    /// How many probes.
    #[serde(default = "ten")]
    pub(crate) probes: u16,
    /// Whether the far end is watched.
    #[serde(default = "yes")]
    pub(crate) two_sided: bool,
    /// The target is an address of the sender itself.
    #[serde(default)]
    pub(crate) loopback: bool,
    #[serde(default)]
    pub(crate) mode: ProbeMode,
    #[serde(default)]
    pub(crate) responder: Responder,
    /// `native`, `generic` or `off`, for both hosts.
    #[serde(default = "native")]
    pub(crate) xdp_mode: XdpAttachment,
    /// The sender reads through a raw socket: each reply leaves a benign `NO_SOCKET` event.
    #[serde(default)]
    pub(crate) raw_socket: bool,
    /// Another target than b.
    pub(crate) target: Option<IpAddr>,
    /// Whether both hosts have the same name.
    #[serde(default)]
    pub(crate) same_name: bool,
    /// Where packets go missing.
    #[serde(default)]
    pub(crate) lose: Vec<Lose>,
    /// Blind hops by side; a name may end in `*`. A hop `all` stands for every one.
    #[serde(default)]
    pub(crate) blind: BTreeMap<String, Vec<String>>,
    /// What the hosts looked up.
    #[serde(default)]
    pub(crate) findings: BTreeMap<String, Vec<Finding>>,
    /// Packets of ARP and neighbour discovery that the hosts saw, by side.
    #[serde(default)]
    pub(crate) neighbour: BTreeMap<String, Vec<SeenNeighbour>>,
    /// Drop events that are not about a loss of this run.
    #[serde(default)]
    pub(crate) noise: Vec<Noise>,
    /// The kind of both ends' interface, where it is a tunnel.
    pub(crate) tunnel: Option<String>,
    /// The id that the far end sees, where a NAT rewrites it.
    pub(crate) rewritten_id: Option<u16>,
    /// Who answers, where it is not the target.
    pub(crate) answers_from: Option<IpAddr>,
    /// Probes whose reply comes twice.
    #[serde(default)]
    pub(crate) doubled: Vec<u16>,
    /// Probes whose reply comes last.
    #[serde(default)]
    pub(crate) late: Vec<u16>,
    /// By side.
    #[serde(default)]
    pub(crate) accounting: BTreeMap<String, Accounting>,
    pub(crate) walk: Option<Walk>,
    /// What the verdict must say.
    pub(crate) expect: Expect,
}

/// Packets that go missing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lose {
    /// `leg side hop`: the first hop that they no longer pass.
    pub(crate) before: String,
    /// Which probes; all where left out.
    pub(crate) probes: Option<Vec<u16>>,
    /// The event of their drop.
    pub(crate) event: Option<Event>,
    /// What the send call answers.
    pub(crate) errno: Option<String>,
    /// The ICMP error that comes back.
    pub(crate) icmp: Option<Icmp>,
}

/// A packet of ARP or neighbour discovery.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenNeighbour {
    /// `asks out eth0`, `answers in eth0`, `asks dropped eth0`.
    pub(crate) seen: String,
    pub(crate) about: IpAddr,
    pub(crate) asker: IpAddr,
    pub(crate) lladdr: Option<String>,
    pub(crate) event: Option<Event>,
}

impl SeenNeighbour {
    fn packet(&self) -> NeighbourPacket {
        let words: Vec<&str> = self.seen.split(' ').collect();
        let [kind, hop, interface] = words.as_slice() else { panic!("{:?} is not: kind hop interface", self.seen) };
        let event = self.event.clone().unwrap_or_default();
        NeighbourPacket {
            time_ns: 1,
            kind: if *kind == "asks" { NeighbourKind::Asks } else { NeighbourKind::Answers },
            hop: match *hop {
                "out" => NeighbourHop::Out,
                "in" => NeighbourHop::In,
                "dropped" => NeighbourHop::Dropped,
                other => panic!("{other} is no hop of a neighbour's packet"),
            },
            interface: Some((*interface).to_owned()),
            about: self.about,
            asker: self.asker,
            lladdr: self.lladdr.clone(),
            reason: event.reason,
            function: event.function,
            stack: event.stack,
            layers: 0,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) stack: Vec<String>,
    /// The link-layer address that the frame is for.
    #[serde(default)]
    pub(crate) frame: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Icmp {
    pub(crate) from: IpAddr,
    #[serde(rename = "type")]
    pub(crate) icmp_type: u8,
    pub(crate) code: u8,
    /// The MTU of the next link that it tells.
    #[serde(default)]
    pub(crate) next_mtu: Option<u32>,
    /// The end that it comes to, where that is not the sender's program: `local` or `peer`.
    #[serde(default)]
    pub(crate) heard_by: Option<String>,
}

/// An unrelated drop event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noise {
    pub(crate) side: String,
    pub(crate) leg: Echo,
    /// Which probe; `None`: a foreign packet.
    pub(crate) probe: Option<u16>,
    /// At which device, where that is another one than the watched.
    pub(crate) at: Option<String>,
    #[serde(flatten)]
    pub(crate) event: NoiseEvent,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NoiseEvent {
    pub(crate) reason: String,
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) stack: Vec<String>,
}

/// What the verdict must say; what is left out is not looked at, but `stops` is always complete.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) outcome: String,
    pub(crate) confidence: Option<String>,
    /// The whole sentence.
    pub(crate) sentence: Option<String>,
    #[serde(default)]
    pub(crate) stops: Vec<toml::Table>,
    #[serde(default)]
    pub(crate) alterations: Vec<toml::Table>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

fn four() -> u8 {
    4
}

fn ten() -> u16 {
    10
}

fn yes() -> bool {
    true
}

fn native() -> XdpAttachment {
    XdpAttachment::Native
}

pub(crate) const ID: u16 = 4660;

/// The healthy run that all fixtures differ from.
pub(crate) fn healthy() -> Fixture {
    toml::from_str("title = 'healthy'\n[expect]\noutcome = 'delivered'").expect("a fixture")
}

impl Fixture {
    fn address(&self, side: Side) -> IpAddr {
        let text = match (self.family, side) {
            (6, Side::Local | Side::Via(_)) => "fd77::10",
            (6, Side::Peer) => "fd78::10",
            (_, Side::Local | Side::Via(_)) => "10.77.0.10",
            (_, Side::Peer) => "10.78.0.10",
        };
        text.parse().expect("an address")
    }

    /// The evidence of this run.
    pub(crate) fn evidence(&self) -> Evidence {
        let far = if self.loopback { Side::Local } else { Side::Peer };
        let address = self.target.unwrap_or(self.address(far));
        let name = if self.loopback { "a" } else { "b" };
        let mut evidence = Evidence {
            mode: self.mode,
            responder: self.responder,
            peer: (!self.loopback).then(|| self.host(Side::Peer)),
            walk: self.walk.clone(),
            ..Evidence::new(Target { name: name.into(), address }, SenderTrace::default(), self.host(Side::Local))
        };
        let steps = journey(&evidence);
        for probe in 0..self.probes {
            self.send(&mut evidence, &steps, probe);
        }
        if let Some(from) = self.answers_from {
            evidence.local.drops.iter_mut().filter(|drop| drop.leg == Echo::Reply).for_each(|drop| drop.source = from);
        }
        self.make_noise(&mut evidence);
        self.go_blind(&mut evidence);
        if !self.two_sided {
            evidence.peer = None;
        }
        evidence
    }

    fn host(&self, side: Side) -> HostTrace {
        let hostname = if self.same_name || side == Side::Local { "a" } else { "b" };
        let interface = if self.loopback { "lo" } else { "eth0" };
        let watched = |row: &probe_ebpf::hop::HopRow| {
            let sight = HopTrace::Watched { requests: BTreeMap::new(), replies: BTreeMap::new() };
            (row.hop, sight)
        };
        HostTrace {
            host: HostFacts {
                hostname: hostname.into(),
                interface: interface.into(),
                address: Some(self.address(side)),
                kernel: "6.18.0".into(),
                xdp_mode: self.xdp_mode,
                tunnel: self.tunnel.clone(),
                tunnels: Vec::new(),
                netns: 0,
                everywhere: false,
                boot: String::new(),
            },
            hops: probe_ebpf::hop::HOPS.iter().map(watched).collect(),
            drops: Vec::new(),
            findings: self.findings.get(word(side)).cloned().unwrap_or_default(),
            accounting: self.accounting.get(word(side)).copied().unwrap_or_default(),
            other_devices: Vec::new(),
            ports: Vec::new(),
            places: Vec::new(),
            carried: Vec::new(),
            untold: probe_user::model::trace::UntoldPlaces::default(),
            heard: Vec::new(),
            neighbour: self.neighbour.get(word(side)).into_iter().flatten().map(SeenNeighbour::packet).collect(),
        }
    }

    /// Sends one probe: it passes every step up to the one before which it is lost.
    fn send(&self, evidence: &mut Evidence, steps: &[PathStep], probe: u16) {
        let lost = self.lose.iter().filter(|lose| lose.concerns(probe));
        let end = |lose: &&Lose| (lose.step(steps), (*lose).clone());
        let lost = lost.map(|lose| end(&lose)).min_by_key(|(index, _)| *index);
        let last = lost.as_ref().map_or(steps.len(), |(index, _)| *index);
        let base = 1_000_000_000 + u64::from(probe) * 50_000_000;
        let mut sent = SentProbe { probe, id: ID, seq: probe + 1, sent_ns: base, errno: None };
        for (index, step) in steps[..last].iter().enumerate() {
            let time = base + 10_000 * index as u64;
            if step.checkpoint.station == Station::Recv {
                let (from, times) = (self.answers_from.unwrap_or(evidence.target.address), self.times(probe));
                let late = if self.late.contains(&probe) { 2_000_000_000 } else { 0 };
                let received =
                    Received { time_ns: time + late, from, id: ID, ttl: 63, times, altered: None, bad_checksum: false };
                evidence.sending.received.insert(probe, received);
            }
            self.mark(evidence, *step, probe, time);
        }
        if self.raw_socket && last == steps.len() {
            let at = Checkpoint { host: Side::Local, station: Station::Recv };
            let noise = ("NO_SOCKET", "ping_rcv", &[] as &[String]);
            push(evidence, at.host, Echo::Reply, Some(probe), noise);
        }
        if let Some((index, lose)) = lost {
            let at = lose.event_at(steps, index);
            if let Some(event) = &lose.event {
                push(evidence, at.1, at.0, Some(probe), (&event.reason, &event.function, &event.stack));
                let host = if at.1 == Side::Peer { evidence.peer.as_mut() } else { Some(&mut evidence.local) };
                if let Some(drop) = host.and_then(|host| host.drops.last_mut()) {
                    drop.frame.destination.clone_from(&event.frame);
                }
            }
            sent.errno = lose.errno;
            if let Some(Icmp { from, icmp_type, code, next_mtu, heard_by }) = lose.icmp {
                let error = IcmpError { probe, from, icmp_type, code, next_mtu };
                // One end sees a request stop where its reply does not come in.
                let leg = if self.two_sided { steps[index].leg } else { Echo::Request };
                let heard = HeardError { leg, around_in: None, error: error.clone() };
                match heard_by.as_deref() {
                    None => evidence.sending.errors.push(error),
                    Some("local") => evidence.local.heard.push(heard),
                    Some("peer") => evidence.peer.as_mut().expect("it is watched").heard.push(heard),
                    Some(other) => panic!("{other} is no end"),
                }
            }
        }
        evidence.sending.probes.push(sent);
    }

    fn times(&self, probe: u16) -> u32 {
        if self.doubled.contains(&probe) { 2 } else { 1 }
    }

    fn mark(&self, evidence: &mut Evidence, step: PathStep, probe: u16, time: u64) {
        let Station::Hop(hop) = step.checkpoint.station else { return };
        let unheard = hop == probe_ebpf::Hop::SocketIn && step.leg == Echo::Request;
        if unheard && self.responder == Responder::Kernel {
            return;
        }
        let rewritten = self.rewritten_id.filter(|_| step.checkpoint.host == Side::Peer);
        let sight = ProbePassage {
            first_ns: time,
            times: 1,
            ifindex: 2,
            id: rewritten.unwrap_or(ID),
            ttl: 64,
            ..ProbePassage::default()
        };
        let host = if step.checkpoint.host == Side::Peer { evidence.peer.as_mut() } else { Some(&mut evidence.local) };
        let Some(HopTrace::Watched { requests, replies }) = host.and_then(|host| host.hops.get_mut(&hop)) else {
            return;
        };
        if step.leg == Echo::Request { requests } else { replies }.insert(probe, sight);
    }

    fn make_noise(&self, evidence: &mut Evidence) {
        for noise in &self.noise {
            let event = (noise.event.reason.as_str(), noise.event.function.as_str(), noise.event.stack.as_slice());
            push(evidence, side(&noise.side), noise.leg, noise.probe, event);
            let far = side(&noise.side) == Side::Peer;
            let host = if far { evidence.peer.as_mut() } else { Some(&mut evidence.local) };
            if let (Some(at), Some(drop)) = (&noise.at, host.and_then(|host| host.drops.last_mut())) {
                drop.interface = Some(at.clone());
            }
        }
    }

    fn go_blind(&self, evidence: &mut Evidence) {
        for (name, hops) in &self.blind {
            let side = side(name);
            let host = if side == Side::Peer { evidence.peer.as_mut() } else { Some(&mut evidence.local) };
            let Some(host) = host else { continue };
            for (hop, sight) in &mut host.hops {
                let fits = |pattern: &String| {
                    pattern == "all"
                        || pattern == hop.name()
                        || pattern.strip_suffix('*').is_some_and(|prefix| hop.name().starts_with(prefix))
                };
                if hops.iter().any(fits) {
                    *sight = HopTrace::Blind { why: "not available in this test".into() };
                }
            }
        }
    }
}

fn word(side: Side) -> &'static str {
    if side == Side::Local { "local" } else { "peer" }
}

fn side(word: &str) -> Side {
    match word {
        "local" => Side::Local,
        "peer" => Side::Peer,
        other => panic!("{other} is neither local nor peer"),
    }
}

fn push(
    evidence: &mut Evidence,
    side: Side,
    leg: Echo,
    probe: Option<u16>,
    (reason, function, stack): (&str, &str, &[String]),
) {
    let (here, there) = (evidence.local.host.address, evidence.target.address);
    let here = here.expect("an address");
    let (source, destination) = if leg == Echo::Request { (here, there) } else { (there, here) };
    let host = if side == Side::Peer { evidence.peer.as_mut() } else { Some(&mut evidence.local) };
    let Some(host) = host else { return };
    host.drops.push(Drop {
        time_ns: 1_000_000_000 + host.drops.len() as u64,
        probe,
        leg,
        id: ID,
        seq: probe.map_or(1, |probe| probe + 1),
        reason: reason.into(),
        function: function.into(),
        stack: stack.to_vec(),
        interface: Some("eth0".into()),
        source,
        destination,
        frame: probe_user::model::trace::FrameFacts::default(),
    });
}

impl Lose {
    fn concerns(&self, probe: u16) -> bool {
        self.probes.as_ref().is_none_or(|probes| probes.contains(&probe))
    }

    fn step(&self, steps: &[PathStep]) -> usize {
        let words: Vec<&str> = self.before.split(' ').collect();
        let [leg, host, hop] = words.as_slice() else { panic!("{:?} is not: leg side hop", self.before) };
        let leg = if *leg == "request" { Echo::Request } else { Echo::Reply };
        let station = Station::named(hop).unwrap_or_else(|| panic!("no hop {hop}"));
        let at = Checkpoint { host: side(host), station };
        let here = |step: &PathStep| step.leg == leg && step.checkpoint == at;
        steps.iter().position(here).unwrap_or_else(|| panic!("{:?} is not on the way", self.before))
    }

    /// Whose kernel tells of the drop, and of which leg: where the packet was last.
    fn event_at(&self, steps: &[PathStep], index: usize) -> (Echo, Side) {
        let step = steps[index.saturating_sub(1)];
        let entering = matches!(
            steps[index].checkpoint.station,
            Station::Hop(probe_ebpf::Hop::XdpIn | probe_ebpf::Hop::NetifIn | probe_ebpf::Hop::TcIn)
        );
        // What enters a host and is dropped there is reported by that host.
        if entering { (steps[index].leg, steps[index].checkpoint.host) } else { (step.leg, step.checkpoint.host) }
    }
}

/// Every probe of a leg that must pass, for property tests.
pub(crate) fn watched_hops(evidence: &Evidence) -> Vec<PathStep> {
    let musts = |step: &PathStep| step.duty == Requirement::Must && matches!(step.checkpoint.station, Station::Hop(_));
    journey(evidence).into_iter().filter(musts).collect()
}

/// The names of the blind hops of a side.
pub(crate) fn blind_hops(evidence: &Evidence, side: Side) -> BTreeSet<String> {
    let host = evidence.host(side);
    let blind = host.hops.iter().filter(|(_, sight)| matches!(sight, HopTrace::Blind { .. }));
    blind.map(|(hop, _)| hop.name().to_owned()).collect()
}

//! Journeys of marked probes on one host of a lab: the kernel programs of netfilter and cgroup, and nothing else.

use std::{collections::BTreeMap, net::SocketAddr};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::cgroup_skb::CgroupSkbLink,
};
use bytemuck::Zeroable;
use probe_ebpf::{
    ABI_VERSION, Config, Echo, Family, Hop, Kind, Step,
    hop::HOPS,
    journey::{MAGIC, MAX_PROBES, Mark, step_index},
    names,
};
use probe_user::{
    kernel::{
        border::Plain,
        hops::{
            self, cgroup,
            netfilter::{self, NetfilterLinks},
        },
        object,
    },
    lab::{Host, Netns, Topology},
    traffic::{Message, Sender, Settings},
};

pub(crate) const NONCE: u64 = 0x1122_3344_5566_7788;

/// Programs at the hooks of one network namespace.
pub(crate) struct Watched {
    steps: Array<MapData, Plain<Step>>,
    pub(crate) netfilter: NetfilterLinks,
    pub(crate) cgroup: BTreeMap<Hop, Result<CgroupSkbLink, String>>,
    _programs: Ebpf,
}

impl Watched {
    /// Attaches in `netns`.
    pub(crate) fn attach(netns: &Netns, families: &[Family]) -> Self {
        netns.run(|| Self::attach_here(families)).expect("inside")
    }

    fn attach_here(families: &[Family]) -> Self {
        let config = Config { abi: ABI_VERSION, journey: 1, nonce: NONCE, ..Config::zeroed() };
        let (config, offsets) = (Plain(config), Plain(crate::watched::offsets()));
        let steps = u32::try_from(HOPS.len() * 2).expect("a few") * MAX_PROBES;
        let mut loader = EbpfLoader::new();
        loader.override_global(names::CONFIG, &config, true).override_global(names::OFFSETS, &offsets, true);
        loader.map_max_entries(names::JOURNEYS, steps);
        let mut programs = loader.load(object::bytes().expect("the kernel half")).expect("maps");
        let netfilter = netfilter::attach(&programs, families);
        let mut links = BTreeMap::new();
        for hop in [Hop::CgroupOut, Hop::SocketIn] {
            hops::load(&mut programs, hop).expect("the verifier takes it");
            links.insert(hop, cgroup::attach(&mut programs, hop));
        }
        let map = programs.take_map(names::JOURNEYS).expect("the map");
        let steps = map.try_into().expect("an array");
        Self { steps, netfilter, cgroup: links, _programs: programs }
    }

    /// What `hop` saw of a probe.
    pub(crate) fn step(&self, hop: Hop, echo: Echo, probe: u16) -> Step {
        self.steps.get(&step_index(hop as u32, echo, probe.into()), 0).expect("it is there").0
    }

    /// The hops that saw a probe once.
    pub(crate) fn seen(&self, echo: Echo, probe: u16) -> Vec<Hop> {
        HOPS.iter().map(|row| row.hop).filter(|hop| self.step(*hop, echo, probe).times > 0).collect()
    }

    /// Those of netfilter.
    pub(crate) fn seen_by_netfilter(&self, echo: Echo, probe: u16) -> Vec<Hop> {
        self.seen(echo, probe).into_iter().filter(|hop| hop.name().starts_with("nf_")).collect()
    }
}

fn offsets() -> probe_ebpf::Offsets {
    probe_ebpf::Offsets {
        skb_head: 192,
        skb_data: 200,
        skb_tail: 184,
        skb_network_header: 180,
        skb_protocol: 176,
        skb_dev: 16,
        skb_sk: 24,
        device_ifindex: 224,
        nf_hook: 0,
        nf_pf: 1,
        nf_in: 8,
        nf_out: 16,
        nf_net: 32,
        ..probe_ebpf::Offsets::NONE
    }
}

/// A marked echo message. The kernel fills the checksum in for IPv6 and for ping sockets.
pub(crate) fn marked(family: Family, echo: Echo, probe: u16) -> Vec<u8> {
    let mark = mark(probe);
    let message = Message::new(Kind { family, echo }, 0x4242, probe, bytemuck::bytes_of(&mark));
    message.bytes_v4()
}

fn mark(probe: u16) -> Mark {
    Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: NONCE.to_be_bytes() }
}

/// Sends a marked probe; whether the kernel took it.
pub(crate) fn send(lab: &Topology, from: Host, to: Host, family: Family, echo: Echo, probe: u16) -> bool {
    let mark = mark(probe);
    let settings = Settings::new(echo, SocketAddr::new(to.address(family), 0));
    let send = || Sender::open(&settings).expect("a socket").send(0x4242, probe, bytemuck::bytes_of(&mark)).is_ok();
    lab.netns(from).run(send).expect("inside")
}

//! Journeys of marked probes on one host of a lab: the kernel programs of netfilter and cgroup, and nothing else.

use std::{collections::BTreeMap, net::SocketAddr, sync::LazyLock};

use aya::{Ebpf, programs::cgroup_skb::CgroupSkbLink};
use bytemuck::Zeroable;
use probe_ebpf::{
    Echo, Family, Hop, Kind,
    drops::DropConfig,
    hop::HOPS,
    journey::{MAGIC, Mark},
};
use probe_user::{
    ebpf::{
        hops::{
            cgroup,
            netfilter::{self, NetfilterLinks},
        },
        journeys::Journeys,
        load::{self, Job, Journey, Switch},
        running::RunningKernel,
    },
    host::offsets::OffsetGroup,
    lab::{LabHost, Netns, Topology},
    model::trace::ProbePassage,
    traffic::{EchoMessage, Sender, Settings},
};

pub(crate) const NONCE: u64 = 0x1122_3344_5566_7788;

/// Programs at the hooks of one network namespace.
pub(crate) struct Watched {
    journeys: Journeys,
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
        // Reading all of it takes a while, and it does not change.
        static KERNEL: LazyLock<RunningKernel> = LazyLock::new(RunningKernel::read);
        let kernel = &*KERNEL;
        let journey = Journey {
            nonce: NONCE,
            numbered: None,
            netns: 0,
            offsets: kernel.layout(OffsetGroup::Netfilter).expect("this kernel has netfilter").offsets,
            drops: DropConfig::zeroed(),
            crossings: 0,
            everywhere: false,
            opens: 0,
            drop_ring_bytes: probe_user::ebpf::drops::RING_BYTES,
        };
        let job = Job { count: Switch::Off, journey: Some(journey), ..Job::count(&[]) };
        let mut programs = load::load(&job).expect("maps");
        let netfilter = netfilter::attach(&programs, kernel, families);
        let cgroup = cgroup::HOPS.map(|hop| (hop, cgroup::attach(&mut programs, hop))).into();
        let journeys = Journeys::take(&mut programs).expect("loaded for a journey");
        Self { journeys, netfilter, cgroup, _programs: programs }
    }

    /// What `hop` saw of a probe; nothing: no times.
    pub(crate) fn step(&self, hop: Hop, echo: Echo, probe: u16) -> ProbePassage {
        self.journeys.step(hop, echo, probe).unwrap_or_default()
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

/// A marked echo message. The kernel fills the checksum in for IPv6 and for ping sockets.
pub(crate) fn marked(family: Family, echo: Echo, probe: u16) -> Vec<u8> {
    let mark = mark(probe);
    let message = EchoMessage::new(Kind { family, echo }, 0x4242, probe, bytemuck::bytes_of(&mark));
    message.bytes_v4()
}

fn mark(probe: u16) -> Mark {
    Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: NONCE.to_be_bytes() }
}

/// Sends a marked probe; whether the kernel took it.
pub(crate) fn send(lab: &Topology, from: LabHost, to: LabHost, family: Family, echo: Echo, probe: u16) -> bool {
    let mark = mark(probe);
    let settings = Settings::new(echo, SocketAddr::new(to.address(family), 0));
    let send = || Sender::open(&settings).expect("a socket").send(0x4242, probe, bytemuck::bytes_of(&mark)).is_ok();
    lab.netns(from).run(send).expect("inside")
}

//! One host of the lab with every hop of NIC, tracepoints and drops attached.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
};

use aya::{Btf, Ebpf, programs::links::FdLink};
use nix::net::if_::if_indextoname;
use probe_ebpf::{Echo, Hop, Skip};
use probe_user::{
    ebpf::{
        drops::{DropRing, RING_BYTES},
        hops::{self, TraceLink, drops::FreeTracepoint, tc::TcLink},
        journeys::Journeys,
        load::{self, Job, Journey, Switch},
        nic,
        running::RunningKernel,
        tallies::SkipMap,
    },
    host::{
        device::{AttachMode, Device},
        offsets::OffsetGroup,
        symbols::Symbols,
    },
    lab::{LabHost, Netns, Nic, Topology},
    model::trace::{
        Drop,
        benign::{Benign, benign},
    },
    watch::drops::DropNames,
};

/// The hops that are watched here.
pub(crate) const WATCHED: [Hop; 7] =
    [Hop::TcOut, Hop::DevQueue, Hop::Xmit, Hop::XdpIn, Hop::NetifIn, Hop::TcIn, Hop::IcmpIn];

/// A watched host.
pub(crate) struct Watched {
    journeys: Journeys,
    ring: DropRing,
    skips: SkipMap,
    kernel: RunningKernel,
    drops: Vec<Drop>,
    benign: BTreeMap<Benign, u64>,
    _links: (Vec<TraceLink>, Vec<TcLink>, FdLink),
    _programs: Ebpf,
}

/// How a host is watched.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) nonce: u64,
    pub(crate) ring_bytes: u32,
    pub(crate) consumer: Consumer,
}

/// How the program at `consume_skb` learns who consumed a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// As this kernel has it.
    Best,
    /// As kernels before 6.3 have it, whose tracepoint does not tell.
    ByStack,
}

impl Wish {
    pub(crate) fn new(nonce: u64) -> Self {
        Self { nonce, ring_bytes: RING_BYTES, consumer: Consumer::Best }
    }
}

impl Watched {
    /// Watches the interface of `nic` on its host.
    pub(crate) fn new(lab: &Topology, nic: Nic, wish: Wish) -> Self {
        let netns = lab.netns(nic.host());
        netns.run(|| Self::here(netns, nic.interface(), wish, AttachMode::Native)).expect("inside")
    }

    /// Watches `lo` of `host`, which has no driver that could run XDP.
    pub(crate) fn on_loopback(lab: &Topology, host: LabHost, wish: Wish) -> Self {
        let netns = lab.netns(host);
        netns.run(|| Self::here(netns, "lo", wish, AttachMode::Generic)).expect("inside")
    }

    fn here(netns: &Netns, interface: &str, wish: Wish, mode: AttachMode) -> Self {
        let device = Device::find(interface).expect("the lab's interface");
        let kernel = RunningKernel::read();
        let mut drops = kernel.drop_config();
        if wish.consumer == Consumer::ByStack {
            drops.location_given = 0;
        }
        let journey = Journey {
            nonce: wish.nonce,
            numbered: None,
            netns: u32::try_from(netns.inode()).expect("32 bits"),
            offsets: kernel.layout(OffsetGroup::Packet).expect("a layout").offsets,
            drops,
            crossings: 0,
            everywhere: false,
            opens: 0,
            drop_ring_bytes: wish.ring_bytes,
        };
        let job = Job {
            count: Switch::Off,
            mode,
            link_layer: nic::link_layer(&device),
            ifindex: device.ifindex,
            journey: Some(journey),
            ..Job::count(&WATCHED)
        };
        let mut programs = load::load(&job).expect("programs load");
        let types = Btf::from_sys_fs().expect("BTF");
        let mut traces = Vec::new();
        for hop in hops::device::HOPS {
            assert_eq!(hops::device::available(&kernel, hop), Ok(()));
            traces.extend(hops::device::attach(&mut programs, &types, &kernel, hop).expect("attaches"));
        }
        for end in [FreeTracepoint::Dropped, FreeTracepoint::Consumed] {
            assert_eq!(hops::drops::available(&kernel, end), Ok(()));
            traces.push(hops::drops::attach(&mut programs, &types, end).expect("attaches"));
        }
        let tc = [Hop::TcOut, Hop::TcIn]
            .map(|hop| hops::tc::attach(&mut programs, &device, hop, nic::AUTO.tc).expect("tc attaches"));
        let xdp = hops::xdp::attach(&mut programs, &device, mode).expect("XDP attaches");
        Self {
            journeys: Journeys::take(&mut programs).expect("journeys"),
            ring: DropRing::take(&mut programs).expect("a ring"),
            skips: SkipMap::take(&mut programs).expect("skips"),
            kernel,
            drops: Vec::new(),
            benign: BTreeMap::new(),
            _links: (traces, tc.into(), xdp),
            _programs: programs,
        }
    }

    /// How often each hop saw the request or reply of `probe`; hops that did not are left out.
    pub(crate) fn times(&self, echo: Echo, probe: u16) -> BTreeMap<Hop, u32> {
        let steps = WATCHED.iter().filter_map(|hop| Some((*hop, self.journeys.step(*hop, echo, probe)?.times)));
        steps.collect()
    }

    /// Which hops saw that packet exactly once, and asserts that none saw it more often.
    pub(crate) fn once(&self, echo: Echo, probe: u16) -> BTreeSet<Hop> {
        let times = self.times(echo, probe);
        assert!(times.values().all(|times| *times == 1), "{echo:?} {probe}: {times:?}");
        times.into_keys().collect()
    }

    pub(crate) fn journeys(&self) -> &Journeys {
        &self.journeys
    }

    /// The drops so far that may be losses.
    pub(crate) fn drops(&mut self, lab: &Topology, host: LabHost) -> &[Drop] {
        let events = self.ring.drain();
        let symbols = if events.is_empty() { Symbols::default() } else { Symbols::read().expect("symbols") };
        let reasons = self.kernel.reasons();
        let names = DropNames { reasons: &reasons, symbols: &symbols };
        for event in events {
            let interface = lab.netns(host).run(|| interface(event.site.ifindex)).expect("inside");
            let drop = names.told(&event, interface);
            match benign(&drop, reasons.icmpv6_frees()) {
                Some(why) => *self.benign.entry(why).or_default() += 1,
                None => self.drops.push(drop),
            }
        }
        &self.drops
    }

    /// How many drops were no losses, by why.
    pub(crate) fn benign(&self) -> &BTreeMap<Benign, u64> {
        &self.benign
    }

    pub(crate) fn skipped(&self, skip: Skip) -> u64 {
        self.skips.read().expect("skips").get(&skip).copied().unwrap_or(0)
    }
}

fn interface(ifindex: u32) -> Option<String> {
    let name = if_indextoname(ifindex).ok().map(CString::into_string)?;
    name.ok()
}

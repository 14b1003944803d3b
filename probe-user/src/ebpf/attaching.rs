//! Attaches the hops of one run, several at a time: the verifier and the kernel's own waits take most of a short run.

mod parallel;

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    Ebpf,
    programs::{cgroup_skb::CgroupSkbLink, links::FdLink},
};
use bytemuck::Zeroable;
use probe_ebpf::{
    Family, Hop,
    contract::{drops::DropConfig, journey::Numbers, offsets::Offsets},
    names,
    tunnel::Tunnels,
};

use self::parallel::Task;
use crate::{
    ebpf::{
        KernelError, absorbed,
        drops::ring_bytes,
        followed::FollowJob,
        hops::{self, Share, TraceLink, drops::FreeTracepoint, netfilter::NetfilterLinks, tc::TcLink},
        load::{self, Job, Journey, NumberedProbes, Switch},
        netfilter::Maps,
        nic::link_layer,
        running::RunningKernel,
    },
    host::device::{self, AttachMode, Device, ModeChoice, XdpPurpose, xdp_mode},
    model::{
        attach::{TcChoice, XdpAttachment},
        followed::FollowRequest,
        request::{HostRole, RequestHandling, WatchRequest},
    },
};

/// What is attached; dropping it detaches.
#[derive(Default)]
pub(crate) struct HopLinks {
    traces: Vec<TraceLink>,
    pub(crate) netfilter: NetfilterLinks,
    cgroups: Vec<CgroupSkbLink>,
    tc: Vec<TcLink>,
    xdp: Option<FdLink>,
}

/// A host that is watched.
pub(crate) struct AttachedHops {
    /// The programs, with the maps that were not taken out yet.
    pub(crate) programs: Ebpf,
    /// The hops that are not watched, and why.
    pub(crate) blind: BTreeMap<Hop, String>,
    /// What is attached.
    pub(crate) links: HopLinks,
    /// How XDP is attached.
    pub(crate) xdp_mode: XdpAttachment,
}

/// Attaches every hop that this kernel has, in the calling thread's network namespace. `tunnels` are those that are opened
/// from the beginning.
///
/// # Errors
/// No kernel half, no privilege, no such XDP mode. A hop that cannot be watched becomes blind, which is not an error.
pub(crate) fn attach(
    request: &WatchRequest,
    follow: Option<FollowJob>,
    device: Option<&Device>,
    (running, tunnels): (&RunningKernel, &Tunnels),
) -> Result<AttachedHops, KernelError> {
    let nic = device.map(|device| Nic::of(device, request)).transpose()?;
    let families = families(request, follow);
    // What carries a probe may be of the other IP version.
    let hooked = if tunnels.is_empty() { families.clone() } else { vec![Family::V4, Family::V6] };
    let mut programs = read(request, (follow, &families), device, (running.offsets(), running.drop_config()), tunnels)?;
    let maps = Maps::of(&programs);
    let mut left = Share::whole(&mut programs);
    // First those that wait longest for the kernel: the others are verified meanwhile.
    let mut tasks = nic.as_ref().map_or_else(Vec::new, |nic| nic.tasks(&mut left));
    tasks.extend(traces(&mut left, running));
    tasks.push(Box::new(move || attach_netfilter(&maps, running, &hooked)));
    for hop in hops::cgroup::HOPS {
        let share = left.split_off(&[hop.row().program]);
        tasks.push(Box::new(move || attach_cgroup(share, hop)));
    }
    let mut all = nic.as_ref().map_or_else(without_nic, |_| Part::default());
    parallel::run(tasks).into_iter().for_each(|part| all.add(part));
    if let Some(why) = device.and_then(hops::device::passes_by) {
        all.add(Part::blind(Hop::NetifIn, why));
    }
    let Part { links, blind } = all;
    let mode = nic.filter(|_| links.xdp.is_some()).map_or(AttachMode::TcInstead, |nic| nic.xdp.mode);
    Ok(AttachedHops { programs, blind, links, xdp_mode: mode.into() })
}

/// Attaches the hops of `device` and no others, which is all that a host in between needs. They read no kernel structures.
///
/// # Errors
/// As [`attach`].
pub(crate) fn attach_nic(request: &WatchRequest, device: &Device) -> Result<AttachedHops, KernelError> {
    let nic = Nic::of(device, request)?;
    let families = [family(request)];
    let mut programs =
        read(request, (None, &families), Some(device), (Offsets::NONE, DropConfig::zeroed()), &Tunnels::default())?;
    let mut left = Share::whole(&mut programs);
    let mut all = Part::default();
    parallel::run(nic.tasks(&mut left)).into_iter().for_each(|part| all.add(part));
    let Part { links, blind } = all;
    let mode = if links.xdp.is_some() { nic.xdp.mode } else { AttachMode::TcInstead };
    Ok(AttachedHops { programs, blind, links, xdp_mode: mode.into() })
}

/// Makes the maps and reads the programs. None is in the kernel yet.
fn read(
    request: &WatchRequest,
    (follow, families): (Option<FollowJob>, &[Family]),
    device: Option<&Device>,
    (offsets, drops): (Offsets, DropConfig),
    tunnels: &Tunnels,
) -> Result<Ebpf, KernelError> {
    let netns = device::netns_inode().map_err(|source| KernelError::File {
        doing: "read",
        path: "/proc/thread-self/ns/net".into(),
        source,
    })?;
    let journey = Journey {
        nonce: request.nonce,
        numbered: numbered(request),
        // The kernel numbers namespaces with 32 bits (`struct ns_common`).
        netns: netns as u32,
        offsets,
        drops,
        crossings: if request.crosses() { request.probes } else { 0 },
        everywhere: request.everywhere,
        opens: tunnels.opens(),
        drop_ring_bytes: ring_bytes(),
    };
    let only = if let [one] = families { Some(*one) } else { None };
    let mut job = Job { count: Switch::Off, only, journey: Some(journey), follow, ..Job::count(&[]) };
    job.requests = request.requests;
    if let Some(device) = device {
        job.link_layer = link_layer(device);
        job.ifindex = device.ifindex;
    } else if request.role == HostRole::Router {
        job.ifindex = NO_DEVICE;
    }
    load::load(&job)
}

/// The index of no device: each one is then one that probes cross, and none is the one that hops are attached to.
const NO_DEVICE: u32 = u32::MAX;

/// Returns what identifies probes without a mark. `None` if requests are kept from the kernel, as such a packet may be
/// somebody else's.
fn numbered(request: &WatchRequest) -> Option<NumberedProbes> {
    let first_seq = request.numbered_from.filter(|_| request.requests == RequestHandling::Pass)?;
    let (near, far) = match request.role {
        HostRole::Sender | HostRole::Router => (request.local, request.remote),
        HostRole::Receiver => (request.remote, request.local),
    };
    Some(NumberedProbes { numbers: Numbers { id: request.id, first_seq, probes: request.probes }, near, far })
}

/// Returns the IP versions that are watched: both if the targets of the echoes are not known beforehand.
pub(crate) fn families(request: &WatchRequest, follow: Option<FollowJob>) -> Vec<Family> {
    match follow {
        Some(FollowJob { request: FollowRequest { target: None, .. }, .. }) => vec![Family::V4, Family::V6],
        _ => vec![family(request)],
    }
}

fn family(request: &WatchRequest) -> Family {
    if request.remote.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// How attaching went for some of the hops.
#[derive(Default)]
struct Part {
    links: HopLinks,
    blind: BTreeMap<Hop, String>,
}

impl Part {
    fn blind(hop: Hop, why: impl Into<String>) -> Self {
        Self { blind: [(hop, why.into())].into(), ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        let HopLinks { traces, netfilter, cgroups, tc, xdp } = other.links;
        self.links.traces.extend(traces);
        self.links.netfilter.extend(netfilter);
        self.links.cgroups.extend(cgroups);
        self.links.tc.extend(tc);
        self.links.xdp = self.links.xdp.take().or(xdp);
        self.blind.extend(other.blind);
    }
}

/// The NIC, and how its hops are attached.
struct Nic<'a> {
    device: &'a Device,
    tc: TcChoice,
    xdp: ModeChoice,
    requests: RequestHandling,
}

impl<'a> Nic<'a> {
    fn of(device: &'a Device, request: &WatchRequest) -> Result<Self, KernelError> {
        let xdp = xdp_mode(device, request.attach.xdp, XdpPurpose::Observe)?;
        Ok(Self { device, tc: request.attach.tc, xdp, requests: request.requests })
    }

    fn tasks<'t>(&'t self, left: &mut Share<'t>) -> Vec<Task<'t, Part>> {
        let mut tasks: Vec<Task<'t, Part>> = Vec::new();
        for hop in [Hop::TcOut, Hop::TcIn] {
            let share = left.split_off(&[hops::program(hop, AttachMode::TcInstead)]);
            tasks.push(Box::new(move || self.attach_tc(share, hop)));
        }
        let share = left.split_off(&[hops::program(Hop::XdpIn, self.xdp.mode)]);
        tasks.push(Box::new(move || self.attach_xdp(share)));
        tasks
    }

    fn attach_tc(&self, mut share: Share<'_>, hop: Hop) -> Part {
        let loaded = hops::load(&mut share, hops::program(hop, AttachMode::TcInstead));
        match loaded.and_then(|()| hops::tc::attach(&mut share, self.device, hop, self.tc)) {
            Ok(link) => Part { links: HopLinks { tc: vec![link], ..HopLinks::default() }, ..Part::default() },
            Err(error) => Part::blind(hop, error.to_string()),
        }
    }

    fn attach_xdp(&self, mut share: Share<'_>) -> Part {
        let mode = self.xdp.mode;
        if mode == AttachMode::TcInstead {
            return Part::blind(Hop::XdpIn, self.xdp.why.clone());
        }
        if let Some(why) = absorbed::cannot_answer(self.device, mode, self.requests) {
            return Part::blind(Hop::XdpIn, why);
        }
        let loaded = hops::load(&mut share, hops::program(Hop::XdpIn, mode));
        match loaded.and_then(|()| hops::xdp::attach(&mut share, self.device, mode)) {
            Ok(link) => Part { links: HopLinks { xdp: Some(link), ..HopLinks::default() }, ..Part::default() },
            Err(error) => Part::blind(Hop::XdpIn, error.to_string()),
        }
    }
}

fn without_nic() -> Part {
    let why = "no route, so no interface to watch";
    Part { blind: [Hop::TcOut, Hop::XdpIn, Hop::TcIn].map(|hop| (hop, why.to_owned())).into(), ..Part::default() }
}

/// Returns the tasks that attach the tracepoints.
fn traces<'t>(left: &mut Share<'t>, running: &'t RunningKernel) -> Vec<Task<'t, Part>> {
    let mut tasks: Vec<Task<'t, Part>> = Vec::new();
    for (end, program) in [(FreeTracepoint::Dropped, names::KFREE), (FreeTracepoint::Consumed, names::CONSUME)] {
        let share = left.split_off(&[program]);
        tasks.push(Box::new(move || attach_end(share, running, end)));
    }
    for hop in hops::device::HOPS {
        let share = left.split_off(hops::device::programs(hop));
        tasks.push(Box::new(move || attach_device(share, running, hop)));
    }
    tasks
}

fn attach_device(mut share: Share<'_>, running: &RunningKernel, hop: Hop) -> Part {
    let attached = hops::device::available(running, hop).and_then(|()| {
        let types = running.loaders_types()?;
        hops::device::attach(&mut share, types, running, hop).map_err(|error| error.to_string())
    });
    match attached {
        Ok(traces) => Part { links: HopLinks { traces, ..HopLinks::default() }, ..Part::default() },
        Err(why) => Part::blind(hop, why),
    }
}

fn attach_end(mut share: Share<'_>, running: &RunningKernel, end: FreeTracepoint) -> Part {
    let attached = hops::drops::available(running, end).and_then(|()| {
        let types = running.loaders_types()?;
        hops::drops::attach(&mut share, types, end).map_err(|error| error.to_string())
    });
    match (attached, end) {
        (Ok(link), _) => Part { links: HopLinks { traces: vec![link], ..HopLinks::default() }, ..Part::default() },
        (Err(why), FreeTracepoint::Consumed) => Part::blind(Hop::IcmpIn, why),
        (Err(why), FreeTracepoint::Dropped) => {
            tracing::warn!("no drop events: {why}");
            Part::default()
        }
    }
}

fn attach_netfilter(maps: &Maps<'_>, running: &RunningKernel, families: &[Family]) -> Part {
    let netfilter = hops::netfilter::attach_beside(maps, running, families);
    let watched: BTreeSet<Hop> = netfilter.watched().collect();
    let blind = netfilter.blind().iter().filter(|(hop, _)| !watched.contains(hop));
    let blind = blind.map(|(hop, why)| (*hop, why.clone())).collect();
    Part { links: HopLinks { netfilter, ..HopLinks::default() }, blind }
}

fn attach_cgroup(mut share: Share<'_>, hop: Hop) -> Part {
    match hops::cgroup::attach(&mut share, hop) {
        Ok(link) => Part { links: HopLinks { cgroups: vec![link], ..HopLinks::default() }, ..Part::default() },
        Err(why) => Part::blind(hop, why),
    }
}

//! Watches one NIC: loads the programs, attaches them, takes snapshots. Dropping it detaches everything.

use std::collections::BTreeMap;

use aya::{Ebpf, programs::links::FdLink};
use nix::libc;
use probe_ebpf::{Count, Direction, Hop, Kind, Skip, names, packet};

use super::{
    KernelError,
    filter::Rules,
    flows::{self, FlowMaps},
    foreign, hops,
    hops::tc::TcLink,
    load::{self, Capture, Job, Switch},
    log::KernelLog,
    ring::Ring,
    tallies::{self, SkipMap, TallyMap},
};
use crate::{
    filter::rules::Needs,
    host::{
        device::{self, AttachMode, Device, DeviceType, XdpPurpose, xdp_mode},
        tunnel,
    },
    model::{
        attach::{Attach, TcChoice, XdpChoice},
        request::RequestHandling,
        snapshot::{self, Snapshot},
    },
};

/// What to watch on a NIC.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchOptions {
    /// How to attach.
    pub attach: Attach,
    /// Where to count what enters.
    pub ingress: Ingress,
    /// Whether to count what leaves.
    pub egress: Switch,
    /// Whether to follow flows.
    pub track: Switch,
    /// Whether to drop what the rules match.
    pub filter: Switch,
    /// Which packets to copy.
    pub capture: Capture,
    /// Whether to count echo inside the packets of tunnels too.
    pub inner: Switch,
}

/// Where packets that enter are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// At one hook: XDP, or tc if XDP is off, costlier, would disturb the link, or is taken.
    #[default]
    Once,
    /// At XDP and at tc, so that losses between them show. XDP may still be off.
    Twice,
}

/// A NIC that is being watched.
pub struct Watch {
    /// The NIC.
    pub device: Device,
    /// How XDP is attached to it.
    pub mode: AttachMode,
    /// The reason, as a clause for the user.
    pub mode_why: String,
    programs: Ebpf,
    tallies: BTreeMap<Hop, TallyMap>,
    dropped: Option<TallyMap>,
    skips: SkipMap,
    /// What was counted before all hops were attached, which is subtracted from every count.
    before: Snapshot,
    log: KernelLog,
    _xdp: Option<FdLink>,
    _tc: Vec<TcLink>,
}

impl Watch {
    /// Loads and attaches what `options` ask for. On an error nothing stays attached.
    pub fn attach(device: &Device, options: &WatchOptions) -> Result<Self, KernelError> {
        if let Err(error) = hops::clsact::sweep(device) {
            // Whoever may attach need not be root, who owns the notes.
            tracing::info!("cannot clean up what killed probes may have left on {}: {error}", device.name);
        }
        let purpose = match (options.filter, options.ingress, options.capture) {
            (Switch::On, ..) => XdpPurpose::Drop,
            (Switch::Off, Ingress::Once, Capture::Nothing) => XdpPurpose::Count,
            _ => XdpPurpose::Observe,
        };
        let mut choice = xdp_mode(device, options.attach.xdp, purpose)?;
        if options.attach.xdp == XdpChoice::Auto
            && choice.mode == AttachMode::TcInstead
            && let Some(program) = foreign::xdp_program(device)
        {
            // What that program drops never reaches tc: knowing that is worth more than what tc costs.
            choice.why = format!("XDP is taken by {program}");
        }
        let first = Self::attach_as(device, options, choice.mode, choice.why);
        match first {
            Err(KernelError::XdpTaken { by, .. }) if options.attach.xdp == XdpChoice::Auto => {
                Self::attach_as(device, options, AttachMode::TcInstead, format!("XDP is taken by {by}"))
            }
            other => other,
        }
    }

    fn attach_as(
        device: &Device,
        options: &WatchOptions,
        mode: AttachMode,
        mode_why: String,
    ) -> Result<Self, KernelError> {
        let hops = chosen_hops(options, mode);
        let mut programs = load::load(&job(device, options, &hops, mode))?;
        let mut tallies = BTreeMap::new();
        for hop in &hops {
            let Some(tally) = hop.row().tally else { continue };
            tallies.insert(*hop, TallyMap::take(&mut programs, tally)?);
        }
        let dropped =
            (options.filter == Switch::On).then(|| TallyMap::take(&mut programs, names::TALLY_DROP)).transpose()?;
        let skips = SkipMap::take(&mut programs)?;
        let log = KernelLog::of(&mut programs);
        let mut tc = Vec::new();
        for hop in hops.iter().filter(|hop| **hop != Hop::XdpIn) {
            tc.push(hops::tc::attach(&mut programs, device, *hop, options.attach.tc)?);
        }
        let xdp = hops.contains(&Hop::XdpIn).then(|| hops::xdp::attach(&mut programs, device, mode)).transpose()?;
        let device = device.clone();
        let before = Snapshot::default();
        let mut watch =
            Self { device, mode, mode_why, programs, tallies, dropped, skips, before, log, _xdp: xdp, _tc: tc };
        watch.begin(options.track)?;
        Ok(watch)
    }

    /// Begins to count. Hops are attached one after the other, and what only the first saw would look like loss.
    fn begin(&mut self, track: Switch) -> Result<(), KernelError> {
        self.before = self.counted()?;
        // Last, so that every request that waits is counted.
        if track == Switch::On { flows::begin(&mut self.programs) } else { Ok(()) }
    }

    /// Returns what was counted so far, since all hops were attached.
    pub fn snapshot(&mut self) -> Result<Snapshot, KernelError> {
        self.flush_log();
        Ok(self.counted()?.since(&self.before))
    }

    /// Returns what the maps hold.
    fn counted(&self) -> Result<Snapshot, KernelError> {
        Ok(Snapshot {
            hops: tallies::read_together(&self.tallies),
            dropped: self.dropped.as_ref().map(TallyMap::read).unwrap_or_default(),
            skips: self.skips.read()?,
        })
    }

    /// Returns the hop that counts what enters.
    pub fn ingress(&self) -> Option<Hop> {
        self.tallies.keys().copied().find(|hop| hop.direction() == Direction::In)
    }

    /// Forwards what the kernel programs logged, under `-vv`.
    pub fn flush_log(&mut self) {
        self.log.flush();
    }

    /// Checks that the interface is still there, under whatever name.
    ///
    /// # Errors
    /// [`KernelError::Gone`] if it is not: its links are then dead, and would never count anything again.
    pub fn check_interface(&self) -> Result<(), KernelError> {
        match device::name_of(self.device.ifindex) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => {
                Err(KernelError::Gone { interface: self.device.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Returns the rules of the filter, for a watch that drops.
    pub fn rules(&mut self) -> Result<Rules, KernelError> {
        Rules::take(&mut self.programs)
    }

    /// Returns the flows, for a watch that tracks them.
    pub fn flows(&mut self) -> Result<FlowMaps, KernelError> {
        FlowMaps::take(&mut self.programs)
    }

    /// Returns the ring of copied packets, for a watch that captures.
    pub fn ring(&mut self) -> Result<Ring, KernelError> {
        Ring::take(&mut self.programs)
    }

    /// Returns what `hop` counted so far of one kind and id, since all hops were attached; `None` if the hop is blind.
    pub fn count(&self, hop: Hop, kind: Kind, id: u16) -> Option<Count> {
        let before = self.before.count(hop, kind, id).unwrap_or_default();
        self.tallies.get(&hop).map(|tally| snapshot::between(before, tally.count(kind, id)))
    }

    /// Returns what could not be counted so far, by cause, since all hops were attached.
    pub fn skips(&self) -> Result<BTreeMap<Skip, u64>, KernelError> {
        Ok(Snapshot { skips: self.skips.read()?, ..Snapshot::default() }.since(&self.before).skips)
    }
}

fn chosen_hops(options: &WatchOptions, mode: AttachMode) -> Vec<Hop> {
    let mut hops = Vec::new();
    if options.egress == Switch::On {
        hops.push(Hop::TcOut);
    }
    if mode != AttachMode::TcInstead {
        hops.push(Hop::XdpIn);
    }
    if mode == AttachMode::TcInstead || options.ingress == Ingress::Twice {
        hops.push(Hop::TcIn);
    }
    hops
}

fn job(device: &Device, options: &WatchOptions, hops: &[Hop], mode: AttachMode) -> Job {
    Job {
        hops: hops.to_vec(),
        mode,
        count: Switch::On,
        link_layer: link_layer(device),
        ifindex: device.ifindex,
        track: options.track,
        filter: options.filter,
        needs: Needs::default(),
        filtered: Direction::In,
        capture: options.capture,
        only: None,
        journey: None,
        requests: RequestHandling::Pass,
        follow: None,
        inner: (options.inner == Switch::On).then(tunnel::openable),
    }
}

/// Returns the link-layer header of `device`'s packets, as the kernel half needs to know it.
pub fn link_layer(device: &Device) -> packet::LinkLayer {
    match device.link_layer {
        DeviceType::RawIp => packet::LinkLayer::RawIp,
        DeviceType::Ethernet | DeviceType::Other(_) => packet::LinkLayer::Ethernet,
    }
}

/// The automatic choice, for commands that have no such flags.
pub const AUTO: Attach = Attach { xdp: XdpChoice::Auto, tc: TcChoice::Auto };

//! Watches one NIC: loads the programs, attaches them, hands out snapshots. Dropping it detaches everything.

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
    host::device::{self, AttachMode, Device, DeviceType, XdpPurpose, xdp_mode},
    model::{
        attach::{Attach, TcChoice, XdpChoice},
        request::RequestHandling,
        snapshot::{self, Snapshot},
    },
};

/// What to watch for on a NIC.
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
}

/// Where packets that enter are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// At one place: XDP, or tc where XDP is off, dearer, would disturb the link, or is taken.
    #[default]
    Once,
    /// At XDP and at tc, so that what is lost between them shows. XDP may still be off.
    Twice,
}

/// A NIC that is being watched.
pub struct Watch {
    /// The NIC.
    pub device: Device,
    /// How XDP is attached to it.
    pub mode: AttachMode,
    /// Why so, as a clause for people.
    pub mode_why: String,
    programs: Ebpf,
    tallies: BTreeMap<Hop, TallyMap>,
    dropped: Option<TallyMap>,
    skips: SkipMap,
    /// What was counted before all hops were attached, and is no part of any count.
    before: Snapshot,
    log: KernelLog,
    _xdp: Option<FdLink>,
    _tc: Vec<TcLink>,
}

impl Watch {
    /// Loads and attaches what `wish` asks for. On an error nothing stays attached.
    pub fn attach(device: &Device, wish: &WatchOptions) -> Result<Self, KernelError> {
        if let Err(error) = hops::clsact::sweep(device) {
            // Whoever may attach need not be root, whose the notes are.
            tracing::info!("what killed probes may have left on {} stays: {error}", device.name);
        }
        let purpose = match (wish.filter, wish.ingress, wish.capture) {
            (Switch::On, ..) => XdpPurpose::Drop,
            (Switch::Off, Ingress::Once, Capture::Nothing) => XdpPurpose::Count,
            _ => XdpPurpose::Observe,
        };
        let mut choice = xdp_mode(device, wish.attach.xdp, purpose)?;
        if wish.attach.xdp == XdpChoice::Auto
            && choice.mode == AttachMode::TcInstead
            && let Some(program) = foreign::xdp_program(device)
        {
            // What it drops never comes to tc: that is worth more to know than what tc costs.
            choice.why = format!("XDP is taken by {program}");
        }
        let first = Self::attach_as(device, wish, choice.mode, choice.why);
        match first {
            Err(KernelError::XdpTaken { by, .. }) if wish.attach.xdp == XdpChoice::Auto => {
                Self::attach_as(device, wish, AttachMode::TcInstead, format!("XDP is taken by {by}"))
            }
            other => other,
        }
    }

    fn attach_as(
        device: &Device,
        wish: &WatchOptions,
        mode: AttachMode,
        mode_why: String,
    ) -> Result<Self, KernelError> {
        let hops = chosen_hops(wish, mode);
        let mut programs = load::load(&job(device, wish, &hops, mode))?;
        let mut tallies = BTreeMap::new();
        for hop in &hops {
            let Some(tally) = hop.row().tally else { continue };
            tallies.insert(*hop, TallyMap::take(&mut programs, tally)?);
        }
        let dropped =
            (wish.filter == Switch::On).then(|| TallyMap::take(&mut programs, names::TALLY_DROP)).transpose()?;
        let skips = SkipMap::take(&mut programs)?;
        let log = KernelLog::of(&mut programs);
        let mut tc = Vec::new();
        for hop in hops.iter().filter(|hop| **hop != Hop::XdpIn) {
            tc.push(hops::tc::attach(&mut programs, device, *hop, wish.attach.tc)?);
        }
        let xdp = hops.contains(&Hop::XdpIn).then(|| hops::xdp::attach(&mut programs, device, mode)).transpose()?;
        let device = device.clone();
        let before = Snapshot::default();
        let mut watch =
            Self { device, mode, mode_why, programs, tallies, dropped, skips, before, log, _xdp: xdp, _tc: tc };
        watch.begin(wish.track)?;
        Ok(watch)
    }

    /// Begins to count: hops are attached one after the other, and what the first saw alone would look like loss.
    fn begin(&mut self, track: Switch) -> Result<(), KernelError> {
        self.before = self.counted()?;
        // Last, so that every request that waits is counted.
        if track == Switch::On { flows::begin(&mut self.programs) } else { Ok(()) }
    }

    /// What was counted so far, since all hops were attached.
    pub fn snapshot(&mut self) -> Result<Snapshot, KernelError> {
        self.flush_log();
        Ok(self.counted()?.since(&self.before))
    }

    /// What the maps hold.
    fn counted(&self) -> Result<Snapshot, KernelError> {
        Ok(Snapshot {
            hops: tallies::read_together(&self.tallies),
            dropped: self.dropped.as_ref().map(TallyMap::read).unwrap_or_default(),
            skips: self.skips.read()?,
        })
    }

    /// The hop that counts what enters.
    pub fn ingress(&self) -> Option<Hop> {
        self.tallies.keys().copied().find(|hop| hop.direction() == Direction::In)
    }

    /// Hands on what the kernel programs logged, under `-vv`.
    pub fn flush_log(&mut self) {
        self.log.flush();
    }

    /// Whether the interface is still there, under whatever name.
    ///
    /// # Errors
    /// [`KernelError::Gone`] once it is not: its links are then dead, and would count nothing for ever.
    pub fn check_interface(&self) -> Result<(), KernelError> {
        match device::name_of(self.device.ifindex) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => {
                Err(KernelError::Gone { interface: self.device.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The rules of the filter, for a watch that drops.
    pub fn rules(&mut self) -> Result<Rules, KernelError> {
        Rules::take(&mut self.programs)
    }

    /// The flows, for a watch that tracks.
    pub fn flows(&mut self) -> Result<FlowMaps, KernelError> {
        FlowMaps::take(&mut self.programs)
    }

    /// The ring of copied packets, for a watch that captures.
    pub fn ring(&mut self) -> Result<Ring, KernelError> {
        Ring::take(&mut self.programs)
    }

    /// What `hop` counted so far of one kind and id, since all hops were attached; `None` where the hop is blind.
    pub fn count(&self, hop: Hop, kind: Kind, id: u16) -> Option<Count> {
        let before = self.before.count(hop, kind, id).unwrap_or_default();
        self.tallies.get(&hop).map(|tally| snapshot::between(before, tally.count(kind, id)))
    }

    /// What could not be counted so far, by cause, since all hops were attached.
    pub fn skips(&self) -> Result<BTreeMap<Skip, u64>, KernelError> {
        Ok(Snapshot { skips: self.skips.read()?, ..Snapshot::default() }.since(&self.before).skips)
    }
}

fn chosen_hops(wish: &WatchOptions, mode: AttachMode) -> Vec<Hop> {
    let mut hops = Vec::new();
    if wish.egress == Switch::On {
        hops.push(Hop::TcOut);
    }
    if mode != AttachMode::TcInstead {
        hops.push(Hop::XdpIn);
    }
    if mode == AttachMode::TcInstead || wish.ingress == Ingress::Twice {
        hops.push(Hop::TcIn);
    }
    hops
}

fn job(device: &Device, wish: &WatchOptions, hops: &[Hop], mode: AttachMode) -> Job {
    Job {
        hops: hops.to_vec(),
        mode,
        count: Switch::On,
        link_layer: link_layer(device),
        ifindex: device.ifindex,
        track: wish.track,
        filter: wish.filter,
        needs: Needs::default(),
        filtered: Direction::In,
        capture: wish.capture,
        only: None,
        journey: None,
        requests: RequestHandling::Pass,
    }
}

/// What `device`'s packets start with, as the kernel half asks for it.
pub fn link_layer(device: &Device) -> packet::LinkLayer {
    match device.link_layer {
        DeviceType::RawIp => packet::LinkLayer::RawIp,
        DeviceType::Ethernet | DeviceType::Other(_) => packet::LinkLayer::Ethernet,
    }
}

/// Attach without choice: what commands that have no such flags use.
pub const AUTO: Attach = Attach { xdp: XdpChoice::Auto, tc: TcChoice::Auto };

//! One NIC being observed: combines the counts of the hops, the flows, and the drops of a filter there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use probe_ebpf::{Direction, Hop};

use super::seconds;
use crate::commands::Screen;
use crate::{
    cli::observe::Observe,
    ebpf::{
        KernelError,
        flows::FlowMaps,
        load::Switch,
        nic::{Ingress, Watch, WatchOptions},
        pins::Pinned,
        tallies::TallyMap,
    },
    error::Failure,
    host::device::Device,
    model::{
        ids::IdRange,
        snapshot::{Snapshot, Tallies},
    },
    observation::{self, Losses},
    report::observation::{IdRow, Observation, skipped},
};

/// One NIC being observed.
pub(super) struct Watcher {
    watch: Watch,
    flows: Option<FlowMaps>,
    losses: Losses,
    filter: Option<FilterDrops>,
    ids: Vec<IdRange>,
    timeout: Duration,
    since: Instant,
    inner: bool,
}

/// What probe's own filter at XDP drops while this watch counts behind it.
struct FilterDrops {
    dropped: TallyMap,
    before: Tallies,
}

impl FilterDrops {
    /// Returns the tallies of the filter on `device`, if it has one that this build can read.
    fn on(device: &Device, screen: &Screen) -> Result<Option<Self>, Failure> {
        let dropped = match Pinned::open(device, Direction::In) {
            Ok(None) => return Ok(None),
            Ok(Some(pinned)) => pinned.dropped()?,
            Err(error @ KernelError::OtherAbi { .. }) => {
                screen.remark(&format!("packets dropped by probe's own filter are not counted: {error}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self { before: dropped.read(), dropped }))
    }
}

impl Watcher {
    /// Attaches to the interface that `args` name.
    pub(super) fn start(args: &Observe, screen: &Screen) -> Result<Self, Failure> {
        let device = Device::find(&args.interface)?;
        let track = if args.counts_only { Switch::Off } else { Switch::On };
        let options = WatchOptions {
            attach: args.attach.choices(),
            ingress: Ingress::Once,
            egress: Switch::On,
            track,
            inner: if args.inner { Switch::On } else { Switch::Off },
            ..WatchOptions::default()
        };
        let mut watch = Watch::attach(&device, &options)?;
        let flows = (track == Switch::On).then(|| watch.flows()).transpose()?;
        let behind = watch.ingress() == Some(Hop::TcIn);
        let filter = if behind { FilterDrops::on(&device, screen)? } else { None };
        Ok(Self {
            watch,
            flows,
            losses: Losses::new(),
            filter,
            ids: args.ids.clone(),
            timeout: args.timeout,
            since: Instant::now(),
            inner: args.inner,
        })
    }

    /// Returns what to print before the first counts arrive.
    pub(super) fn greeting(&self) -> String {
        let inner = if self.inner { ", also inside the packets of tunnels" } else { "" };
        format!(
            "watching {}{inner} (XDP {}: {}); Ctrl-C ends it",
            self.watch.device.name,
            self.watch.mode.name(),
            self.watch.mode_why
        )
    }

    /// Reads what was seen so far.
    pub(super) fn look(&mut self) -> Result<Observation, Failure> {
        let snapshot = self.watch.snapshot()?;
        let flows = match &self.flows {
            Some(maps) => {
                for loss in maps.take_lost(self.timeout)? {
                    *self.losses.entry(observation::row_key(&loss.flow)).or_default() += loss.requests;
                }
                Some(maps.read()?)
            }
            None => None,
        };
        let ingress = self.watch.ingress();
        let flows = flows.as_deref().map(|flows| (flows, &self.losses));
        let rows = observation::rows(&snapshot, ingress, &self.bypassed(), flows);
        let wanted = |id: u16| self.ids.is_empty() || self.ids.iter().any(|range| range.contains(id));
        Ok(Observation {
            interface: self.watch.device.name.clone(),
            xdp_mode: self.watch.mode.into(),
            counted_at: ingress.map_or("no hop", Hop::name),
            seconds: seconds(self.since.elapsed()),
            ids: rows.iter().filter(|((id, _), _)| wanted(*id)).map(|(key, row)| IdRow::new(*key, row)).collect(),
            skipped: skipped(&snapshot.skips),
            room: None,
        })
    }

    /// Returns what the filter in front of this watch dropped since it began.
    fn bypassed(&self) -> Tallies {
        let Some(filter) = &self.filter else { return BTreeMap::new() };
        let now = Snapshot { dropped: filter.dropped.read(), ..Snapshot::default() };
        now.since(&Snapshot { dropped: filter.before.clone(), ..Snapshot::default() }).dropped
    }

    /// Forwards what the kernel programs logged.
    pub(super) fn flush_log(&mut self) {
        self.watch.flush_log();
    }

    /// Fails once the interface is gone: its links are then dead, and would never count again.
    pub(super) fn check_interface(&self) -> Result<(), Failure> {
        Ok(self.watch.check_interface()?)
    }
}

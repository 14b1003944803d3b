//! `probe diagnose`.

mod controls;
mod far;
mod fate;
mod judge;
mod passive;
mod place;
pub(super) mod plan;
mod progress;
mod repeat;
mod responder;
mod vary;
mod vias;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    panic,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use probe_ebpf::Echo;

use self::{
    far::Far,
    fate::{Fates, RunEvidence, all_answered},
    plan::{looks_ahead, plan, request},
    progress::ProgressLine,
    vias::Vias,
};
use super::{
    CommandResult, Screen,
    place::enter_as,
    stop::{Signalled, on_signals},
};
use crate::{
    cli::diagnose::DiagnoseArgs,
    clock::monotonic_ns,
    diagnosis::{self, Evidence, ProbeMode, Walk, WalkStep},
    error::Failure,
    exit::Exit,
    host::{
        identity::Identity,
        privilege::{self, PrivilegedTask},
    },
    model::trace::{HostTrace, IcmpError, PlaceTrace, SenderTrace},
    stop::StopSignal,
    traffic::{
        Prober, ResolvedTarget, Settings,
        prober::{AheadProbe, RunEnd, Sighting, fate_known, id::Scout, random, walk::walk},
        target::family_of,
    },
    watch::{Factory, Watching, path_watch},
};

/// Runs `probe diagnose`.
pub fn run(args: &DiagnoseArgs, screen: &Screen) -> CommandResult {
    // Before any thread starts, so that all of them are in that namespace.
    let (enter, identity) = enter_as(&args.place, args.send_as.as_ref())?;
    if args.passive {
        return passive::run(args, screen);
    }
    path_watch::read_ahead();
    run_from(args, screen, path_watch::start, (enter, identity))
}

/// Diagnoses with another way to watch this host.
pub fn run_with(args: &DiagnoseArgs, screen: &Screen, watch: Factory) -> CommandResult {
    run_from(args, screen, watch, (None, None))
}

/// Diagnoses, where `enter` is the prefix that makes a command run in this network namespace.
fn run_from(
    args: &DiagnoseArgs,
    screen: &Screen,
    watch: Factory,
    (enter, identity): (Option<String>, Option<Arc<Identity>>),
) -> CommandResult {
    privilege::require(PrivilegedTask::Diagnose)?;
    let stop = on_signals()?;
    let progress = ProgressLine::new(screen);
    let known = diagnose(args, screen, (watch, identity), &stop, &progress);
    progress.clear();
    match known {
        Ok(Some(mut known)) => {
            known.evidence.enter = enter;
            tell(args, &known.evidence.sending, screen);
            let outcome = judge::judge(&known.evidence, &stop, screen, args.exit_code);
            // Only now: detaching would keep the reader waiting.
            known.take_down();
            outcome
        }
        Ok(None) => Ok(interrupted_early(screen)),
        Err(_) if stop.by_signal() => Ok(interrupted_early(screen)),
        Err(failure) => Err(failure),
    }
}

/// Prints what the flags of ping ask for besides the verdict: when the first probe left, and a bell.
fn tell(args: &DiagnoseArgs, sending: &SenderTrace, screen: &Screen) {
    if let Some(first) = sending.probes.first().filter(|_| args.ping.timestamps) {
        let ago = Duration::from_nanos(monotonic_ns().saturating_sub(first.sent_ns));
        let since = SystemTime::now().checked_sub(ago).and_then(|then| then.duration_since(UNIX_EPOCH).ok());
        let since = since.unwrap_or_default();
        screen.remark(&format!("[{}.{:06}] the first probe left", since.as_secs(), since.subsec_micros()));
    }
    if args.ping.audible && !sending.received.is_empty() {
        // A stderr that nobody reads is no reason to stop.
        let _ = io::stderr().write_all(b"\x07");
    }
}

/// Returns the status of a run that was interrupted before anything was learned.
fn interrupted_early(screen: &Screen) -> Exit {
    let failure = Failure::new("interrupted before anything was sent", "run it again");
    super::fail(screen.output.format, &failure);
    Exit::Interrupted
}

/// Runs everything up to the verdict; returns `None` if a signal came before the first probe.
fn diagnose(
    args: &DiagnoseArgs,
    screen: &Screen,
    (watch, identity): (Factory, Option<Arc<Identity>>),
    stop: &Signalled,
    progress: &ProgressLine,
) -> Result<Option<Known>, Failure> {
    progress.say(&format!("resolving {}", args.target()));
    let Some(found) = place::resolve_beside(args, stop)? else { return Ok(None) };
    let target = found.target;
    let remarks = found.remark.into_iter().chain(plan::unlike_asked(args, &target)?);
    remarks.for_each(|remark| screen.remark(&remark));
    let scout = Scout::open(family_of(target.address.ip())).map_err(|error| no_raw_socket(&error))?;
    let place = place::find(args, &target, identity)?;
    responder::check(args, &target, &place)?;
    let (nonce, id) = (random(), choose_id(args, scout, screen));
    let far = args.peer.as_deref().map(|_| Far::start(args, stop, progress)).transpose()?;
    let mut vias = Vias::start(args, stop, progress);
    progress.say("attaching");
    let between = vias::request(args, &target, &place, nonce, id);
    let (mut near, far) = thread::scope(|scope| {
        let vias = &mut vias;
        let between = scope.spawn(move || vias.watch(&between));
        let ends = both(
            far,
            stop,
            |far| far.watch(args, &target, &place, nonce, id),
            || watch(&request(args, &target, &place, nonce, id)).inspect(|_| progress.say("waiting for other hosts")),
        );
        between.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        ends
    })?;
    if stop.asked() {
        return Ok(None);
    }
    let others = far.iter().filter_map(Far::host).chain(vias.hosts());
    others.for_each(|host| near.learn_tunnels(&host.tunnels));
    if !args.via.is_empty() {
        vias.without(&near.look()?.host, "the network namespace in which the probes start");
        if let Some(host) = far.as_ref().and_then(Far::host) {
            vias.without(host, "the network namespace that --peer watches");
        }
    }
    let prober = Prober::open(plan(args, &target, &place, nonce, id))?;
    let run = Probing { args, stop, progress, target: &target };
    run.run(prober, near, far, vias).map(Some)
}

/// Starts watching at both ends at the same time: each takes a good part of a short run.
///
/// # Errors
/// The failure of either end, as nothing was sent yet; the near end's if both fail.
fn both(
    far: Option<Far>,
    stop: &StopSignal,
    watch_there: impl FnOnce(&mut Far) -> Result<(), Failure> + Send,
    watch_here: impl FnOnce() -> Result<Box<dyn Watching>, Failure>,
) -> Result<(Box<dyn Watching>, Option<Far>), Failure> {
    thread::scope(|scope| {
        let there = far.map(|mut far| scope.spawn(move || watch_there(&mut far).map(|()| far)));
        let near = watch_here().inspect_err(|_| {
            if there.is_some() {
                // Nobody waits for the far end any more.
                stop.ask();
            }
        });
        let far = there.map(|there| there.join().unwrap_or_else(|cause| panic::resume_unwind(cause)));
        Ok((near?, far.transpose()?))
    })
}

fn no_raw_socket(error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot open a raw socket: {error}"), "sudo probe diagnose …")
}

/// Returns the id that was asked for, or one that nobody else uses.
fn choose_id(args: &DiagnoseArgs, mut scout: Scout, screen: &Screen) -> u16 {
    let Some(id) = args.id else { return scout.choose() };
    if scout.used().contains(&id) {
        screen.remark(&format!("id {id} is in use by another ping on this host; probes are told apart by their mark"));
    }
    id
}

/// A run that is over.
struct Known {
    evidence: Evidence,
    /// The far end, whose command ends when this is dropped.
    far: Option<Far>,
    /// Hosts in between; dropping them ends their commands.
    vias: Vias,
    /// What watched this host, and detaches when this is dropped.
    near: Box<dyn Watching>,
}

impl Known {
    /// Detaches at both ends at the same time.
    fn take_down(self) {
        let Self { far, near, vias, .. } = self;
        thread::scope(|scope| {
            scope.spawn(|| drop(far));
            scope.spawn(|| drop(vias));
            drop(near);
        });
    }
}

/// A run from its first probe on.
struct Probing<'a> {
    args: &'a DiagnoseArgs,
    stop: &'a Signalled,
    progress: &'a ProgressLine,
    target: &'a ResolvedTarget,
}

impl Probing<'_> {
    fn run(
        &self,
        mut prober: Prober,
        mut near: Box<dyn Watching>,
        mut far: Option<Far>,
        mut vias: Vias,
    ) -> Result<Known, Failure> {
        let mut fates = Fates::default();
        let mut seen_there = None;
        if looks_ahead(self.args) {
            self.look_ahead(&mut prober, near.as_mut(), far.as_mut(), &mut vias);
        }
        let ahead = prober.ahead();
        let of_run = |noted| ahead.number(noted);
        let ended = prober.run(self.stop, |sending| {
            self.progress.count(sending, self.args.probes());
            let Ok(mut seen_here) = near.look() else { return false };
            seen_here.renumber(of_run);
            if let Some(mut sight) = far.as_mut().and_then(Far::look) {
                sight.renumber(of_run);
                seen_there = Some(sight);
            }
            if far.is_some() {
                // Only the far end can tell what it does with them.
                seen_here.leave_out(seen_there.as_ref());
            }
            self.all_known(&mut fates, sending, &seen_here, seen_there.as_ref(), &vias.look(ahead))
        });
        tracing::debug!("the run ended: {ended:?}");
        self.progress.say("reading what was seen");
        let seen = self.is_explained(prober.sending()).then(|| far.as_mut().and_then(Far::see));
        // If the far end saw nothing of what was answered, somebody else answered, and that must be explained.
        let by_other = matches!(&seen, Some(Some(peer)) if peer.saw_nothing());
        let (local, peer, between) = match seen {
            Some(peer) if !by_other => (near.look()?, peer, vias.see()),
            _ => {
                // While the far end still watches: it may be the one that is asked.
                near.look_for_neighbours();
                let finishing = far.as_mut().and_then(Far::finish);
                let between = vias.finish();
                (near.finish()?, finishing.zip(far.as_mut()).and_then(|(asked, far)| far.finished(asked)), between)
            }
        };
        let passes = peer.as_ref().is_some_and(|peer: &HostTrace| peer.forwarded(self.first()));
        let peer_ahead_ns = far.as_mut().filter(|_| passes).map(Far::ahead).unwrap_or_default();
        let (mut local, mut peer, mut between) = (local, peer, between);
        let traces = between.iter_mut().map(|via| &mut via.trace).chain([&mut local]).chain(peer.as_mut());
        traces.for_each(|host| host.renumber(of_run));
        let in_time: BTreeSet<u16> = prober.sending().received.keys().copied().collect();
        prober.read_late();
        let sending = fate::without_late(prober.sending().clone(), &in_time, &local);
        let controls = if self.args.no_controls || self.args.reply_only || ended == RunEnd::Stopped {
            Vec::new()
        } else {
            controls::after(prober.plan(), &sending, self.stop)
        };
        let plan = prober.plan().clone();
        let raw = sending.socket.as_ref().is_some_and(|socket| !socket.ping);
        // From here on the run's sockets are closed, so that others may use its id.
        let walk = self.walk(&sending, ended, prober)?;
        let evidence = Evidence {
            target: diagnosis::Target { name: self.target.name.clone(), address: self.target.address.ip() },
            mode: if self.args.reply_only { ProbeMode::ReplyOnly } else { ProbeMode::Request },
            responder: self.args.responder,
            sending,
            local,
            peer,
            walk,
            flags: repeat::flags(std::env::args(), self.args.target()),
            far_flags: repeat::far_end(std::env::args()),
            controls,
            varied: None,
            places: Vec::new(),
            vias: between,
            peer_ahead_ns,
            carried: Vec::new(),
            layer: None,
            forwarding_peer: None,
            untold: 0,
            enter: None,
            other_addresses: self.target.others.clone(),
            following: None,
            sent_as: plan.settings.identity.as_ref().map(|identity| identity.sent_by(raw)),
        };
        let mut evidence = evidence.gathered();
        if ended != RunEnd::Stopped && !self.args.no_controls && !self.args.reply_only {
            self.progress.say("sending controls");
            // A router that --peer reaches is neither of the two ends.
            let end = far.as_mut().filter(|_| evidence.forwarding_peer.is_none());
            vary::as_probe(&mut evidence, &plan, self.stop);
            vary::vary(&mut evidence, &plan, self.args.vary.as_deref(), end, self.stop);
        }
        Ok(Known { evidence, far, near, vias })
    }

    /// Sends the first probe. If it crosses further network namespaces of either end's kernel, it is not part of the
    /// run, and each end watches netfilter's hooks in those namespaces from then on.
    fn look_ahead(&self, prober: &mut Prober, near: &mut dyn Watching, mut far: Option<&mut Far>, vias: &mut Vias) {
        let mut there: Option<HostTrace> = None;
        let mut asked = false;
        prober.look_ahead(self.stop, |sending| {
            let known = !asked && sending.probes.iter().all(|sent| fate_known(sending, sent));
            asked |= known;
            // What it reported before the first probe arrived there says nothing about that probe.
            let sight = far.as_mut().and_then(|far| if known { far.see() } else { far.look() });
            there = sight.or_else(|| there.take());
            let Ok(mut here) = near.look() else { return Sighting::default() };
            if let Some(peer) = there.as_ref().filter(|peer| peer.host.shares_kernel(&here.host)) {
                here.leave_out(Some(peer));
            }
            let beyond = there.as_ref().filter(|peer| !peer.host.shares_kernel(&here.host));
            let between =
                vias.look(AheadProbe::None).into_iter().flat_map(|via| &via.places).filter(|place| place.is_met());
            let between: Vec<&PlaceTrace> = between.collect();
            let beyond = beyond.into_iter().flat_map(|peer| &peer.places);
            let own = |place: &&PlaceTrace| {
                let there = far.as_ref().and_then(|far| far.host()).filter(|host| host.shares_kernel(&here.host));
                place.netns == here.host.netns || there.is_some_and(|host| host.netns == place.netns)
            };
            let carried = here.carried.iter().filter(|place| place.is_met() && !own(place));
            let carried: Vec<&PlaceTrace> = carried.collect();
            let places = || {
                here.places.iter().chain(beyond.clone()).chain(between.iter().copied()).chain(carried.iter().copied())
            };
            let ended = places().flat_map(|place| &place.drops).any(|drop| drop.probe.is_some());
            Sighting { more: places().map(|place| 1 + place.ports.len()).sum(), ended: ended && far.is_none() }
        });
    }

    /// Reports whether there is nothing to explain, and so nothing to look up. Rules that were traced are reported in
    /// any case.
    fn is_explained(&self, sending: &SenderTrace) -> bool {
        !self.args.reply_only && !self.args.trace_rules && all_answered(sending)
    }

    fn all_known(
        &self,
        fates: &mut Fates,
        sending: &SenderTrace,
        local: &HostTrace,
        peer: Option<&HostTrace>,
        vias: &[&HostTrace],
    ) -> bool {
        fates.all_known(&RunEvidence { sending, local, peer, vias, first: self.first() })
    }

    /// Returns the leg that the sent packets travel.
    fn first(&self) -> Echo {
        if self.args.reply_only { Echo::Reply } else { Echo::Request }
    }

    /// Returns which routers answer, if that was asked for and something is left to explain.
    fn walk(&self, sending: &SenderTrace, ended: RunEnd, prober: Prober) -> Result<Option<Walk>, Failure> {
        let answered = sending.received.len() == sending.probes.len();
        let expired = sending.errors.iter().any(IcmpError::tells_expiry);
        // If a TTL ran out, two routers may be sending the packet to each other: who answers at which distance shows
        // that.
        let wanted = self.args.walk || expired && !self.args.no_controls && self.args.ttl.is_none();
        // No router can explain what never left this host.
        let refused = sending.probes.iter().all(|sent| sent.errno.is_some());
        if !wanted || answered || refused || ended == RunEnd::Stopped {
            return Ok(None);
        }
        let (settings, id) = prober.into_settings();
        self.progress.say("raising the TTL");
        // Requests, whatever the run sent: only those are answered by the target.
        let settings = Settings { echo: Echo::Request, ..settings };
        let steps = walk(&settings, id, random(), self.stop)?;
        Ok(Some(Walk { steps: steps.into_iter().map(|(ttl, from)| WalkStep { ttl, from }).collect() }))
    }
}

//! `probe diagnose`.

mod far;
mod fate;
mod judge;
mod place;
mod progress;

use probe_ebpf::Echo;

use self::{
    far::Far,
    fate::{Fates, Run},
    place::Place,
    progress::Progress,
};
use super::{
    Outcome, Screen,
    stop::{Signalled, on_signals},
};
use crate::{
    cli::diagnose::Diagnose,
    diagnosis::{self, Evidence, Mode, Responder, Walk, WalkStep},
    error::Failure,
    exit::Exit,
    kernel::{
        path_watch,
        privilege::{self, Task},
    },
    sighting::{HostSight, Leg, Sending},
    traffic::{
        Fragmentation, Plan, Prober, Settings, Target,
        prober::{Ended, id::Scout, random, walk::walk},
        target::family_of,
    },
    watching::{Factory, Role, WatchRequest, Watching},
};

/// Runs `probe diagnose`.
pub fn run(args: &Diagnose, screen: &Screen) -> Outcome {
    run_with(args, screen, path_watch::start)
}

/// The same with another way to watch this host.
pub fn run_with(args: &Diagnose, screen: &Screen, watch: Factory) -> Outcome {
    privilege::require(Task::Diagnose)?;
    let stop = on_signals()?;
    let progress = Progress::new(screen);
    let known = diagnose(args, screen, watch, &stop, &progress);
    progress.clear();
    match known {
        Ok(Some(evidence)) => judge::judge(&evidence, &stop, screen),
        Ok(None) => Ok(interrupted_early(screen)),
        Err(_) if stop.by_signal() => Ok(interrupted_early(screen)),
        Err(failure) => Err(failure),
    }
}

/// Nothing was learned yet.
fn interrupted_early(screen: &Screen) -> Exit {
    let failure = Failure::new("interrupted before anything was sent", "run it again");
    super::fail(screen.output.format, &failure);
    Exit::Interrupted
}

/// Everything up to the verdict; nothing, where a signal came before the first probe.
fn diagnose(
    args: &Diagnose,
    screen: &Screen,
    watch: Factory,
    stop: &Signalled,
    progress: &Progress,
) -> Result<Option<Evidence>, Failure> {
    progress.say(format!("resolving {}", args.target));
    let Some(target) = place::resolve_beside(args, stop)? else { return Ok(None) };
    let scout = Scout::open(family_of(target.address.ip())).map_err(|error| no_raw_socket(&error))?;
    let place = place::find(args, &target)?;
    let (nonce, id) = (random(), choose_id(args, scout, screen));
    let mut far = args.peer.as_deref().map(|_| Far::start(args, stop, progress)).transpose()?;
    progress.say("attaching".to_owned());
    let near = watch(&request(args, &target, &place, nonce, id))?;
    if let Some(far) = &mut far {
        progress.say("waiting for the far end".to_owned());
        far.watch(args, &target, &place, nonce, id)?;
    }
    if stop.asked() {
        return Ok(None);
    }
    let prober = Prober::open(plan(args, &target, &place, nonce, id))?;
    let run = Probing { args, stop, progress, target: &target };
    run.run(prober, near, far).map(Some)
}

fn no_raw_socket(error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot open a raw socket: {error}"), "sudo probe diagnose …")
}

/// The id that was asked for, or one that nobody else uses.
fn choose_id(args: &Diagnose, mut scout: Scout, screen: &Screen) -> u16 {
    let Some(id) = args.id else { return scout.choose() };
    if scout.used().contains(&id) {
        screen.remark(&format!("id {id} is in use by another ping on this host; probes are told apart by their mark"));
    }
    id
}

/// What this host is to watch.
fn request(args: &Diagnose, target: &Target, place: &Place, nonce: u64, id: u16) -> WatchRequest {
    WatchRequest {
        nonce,
        id,
        probes: args.count,
        local: place.local(target),
        remote: target.address.ip(),
        interface: place.interface.clone(),
        role: Role::Sender,
        attach: args.attach,
        trace_rules: args.trace_rules,
    }
}

fn plan(args: &Diagnose, target: &Target, place: &Place, nonce: u64, id: u16) -> Plan {
    let echo = if args.reply_only { Echo::Reply } else { Echo::Request };
    let settings = Settings {
        source: args.source,
        interface: place.bind_to.clone(),
        ttl: args.ttl,
        fragmentation: if args.df { Fragmentation::Forbidden } else { Fragmentation::Allowed },
        ..Settings::new(echo, target.address)
    };
    Plan {
        settings,
        count: args.count,
        interval: args.interval,
        size: args.size,
        wait: args.timeout,
        ..Plan::new(target.address, id, nonce)
    }
}

/// A run from its first probe on.
struct Probing<'a> {
    args: &'a Diagnose,
    stop: &'a Signalled,
    progress: &'a Progress,
    target: &'a Target,
}

impl Probing<'_> {
    fn run(&self, mut prober: Prober, mut near: Box<dyn Watching>, mut far: Option<Far>) -> Result<Evidence, Failure> {
        let mut fates = Fates::default();
        let mut seen_there = None;
        let ended = prober.run(self.stop, |sending| {
            self.progress.count(sending, self.args.count);
            let Ok(seen_here) = near.look() else { return false };
            if let Some(sight) = far.as_mut().and_then(Far::look) {
                seen_there = Some(sight);
            }
            self.all_known(&mut fates, sending, &seen_here, seen_there.as_ref())
        });
        tracing::debug!("the run ended: {ended:?}");
        self.progress.say("reading what was seen".to_owned());
        let finishing = far.as_mut().and_then(Far::finish);
        let local = near.finish()?;
        let peer = finishing.zip(far.as_mut()).and_then(|(asked, far)| far.finished(asked));
        // Its command ends before the verdict is printed: what it says on stderr comes first.
        drop(far);
        let sending = prober.sending().clone();
        let walk = self.walk(&sending, ended, prober)?;
        Ok(Evidence {
            target: diagnosis::Target { name: self.target.name.clone(), address: self.target.address.ip() },
            mode: if self.args.reply_only { Mode::ReplyOnly } else { Mode::Request },
            responder: Responder::Kernel,
            sending,
            local,
            peer,
            walk,
        })
    }

    fn all_known(&self, fates: &mut Fates, sending: &Sending, local: &HostSight, peer: Option<&HostSight>) -> bool {
        let first = if self.args.reply_only { Leg::Reply } else { Leg::Request };
        fates.all_known(&Run { sending, local, peer, first })
    }

    /// Which routers answer, where that was asked for and something is left to explain.
    fn walk(&self, sending: &Sending, ended: Ended, prober: Prober) -> Result<Option<Walk>, Failure> {
        let answered = sending.received.len() == sending.probes.len();
        // What never left this host has no router to be asked about.
        let refused = sending.probes.iter().all(|sent| sent.errno.is_some());
        if !self.args.walk || answered || refused || ended == Ended::Stopped {
            return Ok(None);
        }
        let (settings, id) = prober.into_settings();
        self.progress.say("raising the TTL".to_owned());
        // Requests, whatever the run sent: only they are answered at the end of the way.
        let settings = Settings { echo: Echo::Request, ..settings };
        let steps = walk(&settings, id, random(), self.stop)?;
        Ok(Some(Walk { steps: steps.into_iter().map(|(ttl, from)| WalkStep { ttl, from }).collect() }))
    }
}

//! Sends otherwise equal packets with one field changed, and finds the changes with which they pass.
//!
//! All changes are tried side by side, as each costs the time of a lost reply. One that passes is proven by sending
//! unchanged packets once more, and then changed ones again.

mod changes;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::Echo;

use self::changes::{Change, SentBy};
use super::far::Far;
use crate::{
    diagnosis::{
        self, Evidence, Responder,
        control::{self, ControlKind, ControlRun, UnchangedRuns, VariedField, VariedRun},
        document::{Confidence, Stop, StopHost},
    },
    host::or_log,
    peer::protocol::SendOrder,
    stop::{LOOK, StopSignal},
    traffic::prober::{ProbePlan, Prober, id::Scout, random},
};

/// How many packets there are of each change, and of unchanged ones.
const EACH: u16 = 2;

/// The same for a run in which some probes were answered: enough to rule out luck.
const EACH_OF_LOSSY: u16 = 8;

/// The accepted probability that all packets of a change pass by luck alone.
const LUCK: f64 = 0.01;

/// The time between two packets of a change, and between the beginnings of two changes.
const PACE: Duration = Duration::from_millis(10);
const STAGGER: Duration = Duration::from_millis(4);

/// The most packets of a change whose packets leave slowly.
const EACH_SLOW: u16 = 3;

/// How long to wait for replies if the user did not ask for variation. If so, as long as in the run, but at most the
/// second.
const REPLY: Duration = Duration::from_millis(350);
const REPLY_ASKED: Duration = Duration::from_secs(1);

/// The most changes that are tried, and that are proven.
const MOST_CHANGES: usize = 32;
const MOST_PROVEN: usize = 3;

/// How long all this may take: unasked, and asked for.
const LIMIT: Duration = Duration::from_secs(2);
const LIMIT_ASKED: Duration = Duration::from_secs(10);

/// Adds to `evidence` the changes to a field of `plan` that let packets pass. `asked`: the fields that the user wants
/// varied, or all if it is empty; without it, a few are tried if what was seen leaves the cause open. `far`: who sends
/// the other way.
pub(super) fn vary(
    evidence: &mut Evidence,
    plan: &ProbePlan,
    asked: Option<&[VariedField]>,
    far: Option<&mut Far>,
    stop: &StopSignal,
) {
    let (sent, answered) = (evidence.sent(), evidence.sending.received.len());
    let is_open = || diagnosis::diagnose(evidence).stops.first().is_some_and(self::is_open);
    let wanted = match asked {
        Some(_) => answered < sent,
        // What another sender changes needs no other change.
        None => {
            let open = answered == 0 && sent > 0 && !is_group(evidence.target.address);
            open && control::smallest(&evidence.controls).is_none() && is_open()
        }
    };
    // A responder other than the kernel does not answer packets of another run.
    if !wanted || evidence.responder != Responder::Kernel || stop.asked() {
        return;
    }
    let began = Instant::now();
    let varying = Varying { far: Mutex::new(far), ..Varying::new(plan, (sent, answered), asked.is_some(), stop) };
    let mut run = VariedRun { asked: asked.is_some(), ..VariedRun::default() };
    let (changes, untried) = changes::of(evidence, plan, asked);
    run.untried = untried;
    let found = varying.find(changes, (sent, answered), &mut run);
    run.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!("varied: {run:?}");
    evidence.controls.extend(found);
    evidence.varied = Some(run);
}

/// Adds to `evidence` what becomes of packets that probe sends as itself, where those of a run that was sent as somebody else
/// stop: proven, if they pass, by packets of that sender before and after.
pub(super) fn as_probe(evidence: &mut Evidence, plan: &ProbePlan, stop: &StopSignal) {
    let (sent, answered) = (evidence.sent(), evidence.sending.received.len());
    let Some(identity) = plan.settings.identity.as_ref().filter(|_| answered < sent && !stop.asked()) else { return };
    let varying = Varying::new(plan, (sent, answered), false, stop);
    if varying.lucky {
        return;
    }
    let unchanged = Change::unchanged(plan);
    let own = Change::as_probe(plan, &identity.sent_as.name);
    let passed = varying.alone(&own);
    let after = varying.alone(&unchanged);
    let changed = after.all() || answered == 0 && after.answered > 0;
    if passed.sent == 0 || after.sent == 0 || changed {
        return;
    }
    let mut passed = passed;
    if passed.all() {
        passed.add(varying.alone(&own));
    }
    let unchanged =
        UnchangedRuns { before: sent, before_answered: answered, after: after.sent, after_answered: after.answered };
    evidence.controls.push(told(&own, passed, unchanged));
}

/// Returns what came of packets with a change.
fn told(change: &Change, tally: Tally, unchanged: UnchangedRuns) -> ControlRun {
    let Change { field, text, from, to, .. } = change.clone();
    ControlRun {
        kind: ControlKind::Field { field, change: text, from, to },
        sent: tally.sent,
        answered: tally.answered,
        unchanged: Some(unchanged),
    }
}

/// Returns whether what was seen leaves more than one place, or the network alone.
fn is_open(stop: &Stop) -> bool {
    let unsaid = stop.cause.icmp.is_none() && stop.cause.reason.is_none() && stop.cause.neighbour.is_none();
    let network = matches!(stop.host, StopHost::Network | StopHost::Beyond);
    unsaid && (network || stop.confidence == Confidence::Unknown || stop.candidates.len() > 1)
}

fn is_group(target: IpAddr) -> bool {
    match target {
        IpAddr::V4(target) => target.is_multicast() || target.is_broadcast() || target.octets()[3] == 255,
        IpAddr::V6(target) => target.is_multicast(),
    }
}

/// What all changes have in common.
struct Varying<'a> {
    plan: &'a ProbePlan,
    far: Mutex<Option<&'a mut Far>>,
    stop: &'a StopSignal,
    each: u16,
    wait: Duration,
    end: Instant,
    lucky: bool,
    lossy: bool,
}

/// What was sent, and answered.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sent: usize,
    answered: usize,
}

impl Tally {
    fn all(self) -> bool {
        self.sent > 0 && self.answered == self.sent
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
    }
}

impl<'a> Varying<'a> {
    /// Prepares it for a run of `plan` of which so many were sent, and answered; `asked`: whether the user asked for it.
    fn new(plan: &'a ProbePlan, (sent, answered): (usize, usize), asked: bool, stop: &'a StopSignal) -> Self {
        let lossy = answered > 0;
        Self {
            plan,
            far: Mutex::new(None),
            stop,
            each: if lossy { EACH_OF_LOSSY } else { EACH },
            wait: if asked { plan.wait.clamp(REPLY, REPLY_ASKED) } else { REPLY },
            end: Instant::now() + if asked { LIMIT_ASKED } else { LIMIT },
            // What passes by luck, as the run's own packets do, shows nothing.
            lucky: (answered as f64 / sent as f64).powi(2 * i32::from(EACH_OF_LOSSY)) > LUCK,
            lossy,
        }
    }

    /// Tries the changes; returns those that are proven.
    fn find(&self, mut changes: Vec<Change>, of_run: (usize, usize), run: &mut VariedRun) -> Vec<ControlRun> {
        changes.truncate(MOST_CHANGES);
        run.tried = changes.iter().map(Change::short).collect();
        // The first is the unchanged packet, and those that leave while nothing else is sent are the last.
        let (mut slow, changes): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.way == SentBy::Slowly);
        let mut batch = vec![Change::unchanged(self.plan)];
        batch.extend(changes);
        let mut tallies = self.at_once(&batch);
        tallies.extend(slow.iter().map(|change| self.after_a_while(change)));
        batch.append(&mut slow);
        run.packets = tallies.iter().map(|tally| tally.sent).sum();
        let mut before = Tally { sent: of_run.0, answered: of_run.1 };
        before.add(tallies[0]);
        run.over = tallies[0].all() || !self.lossy && tallies[0].answered > 0;
        if run.over || self.lucky || self.stop.asked() {
            return Vec::new();
        }
        let mut passed: Vec<(&Change, Tally)> =
            batch.iter().zip(tallies).skip(1).filter(|(_, tally)| tally.all()).collect();
        passed.sort_by_key(|(change, _)| change.field);
        // If a raw socket alone makes the difference, all others pass for that reason.
        if let Some(socket) = passed.iter().position(|(change, _)| change.is_raw_alone()) {
            passed = vec![passed[socket]];
        }
        passed.truncate(MOST_PROVEN);
        if passed.is_empty() {
            return Vec::new();
        }
        let after = self.alone(&batch[0]);
        run.packets += after.sent;
        run.over = after.all() || !self.lossy && after.answered > 0;
        if run.over || after.sent == 0 {
            return Vec::new();
        }
        let unchanged = UnchangedRuns {
            before: before.sent,
            before_answered: before.answered,
            after: after.sent,
            after_answered: after.answered,
        };
        let mut proven = Vec::new();
        for (change, mut tally) in passed {
            let again = if change.way == SentBy::Slowly { self.after_a_while(change) } else { self.alone(change) };
            run.packets += again.sent;
            tally.add(again);
            if again.all() {
                proven.push(told(change, tally, unchanged));
            }
        }
        proven
    }

    /// Sends all of them side by side, each starting a little later than the one before.
    fn at_once(&self, changes: &[Change]) -> Vec<Tally> {
        thread::scope(|scope| {
            let running: Vec<_> = (0_u32..)
                .zip(changes)
                .map(|(place, change)| {
                    scope.spawn(move || {
                        thread::sleep(STAGGER * place);
                        self.alone(change)
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().unwrap_or_default()).collect()
        })
    }

    /// Sends the packets of one; sends nothing if it is too late, or not possible.
    fn alone(&self, change: &Change) -> Tally {
        if self.stop.asked() || Instant::now() >= self.end {
            return Tally::default();
        }
        let slowly = change.way == SentBy::Slowly;
        let plan = ProbePlan {
            nonce: random(),
            count: if slowly { self.each.min(EACH_SLOW) } else { self.each },
            interval: if slowly { change.plan.interval } else { PACE },
            wait: self.wait.min(self.end.saturating_duration_since(Instant::now())),
            adaptive: false,
            preload: 1,
            deadline: None,
            enough: None,
            until_error: false,
            ..change.plan.clone()
        };
        let opened = match &change.way {
            SentBy::FarEnd => return self.sent_by_far(&plan),
            SentBy::Socket | SentBy::Slowly => Prober::open(plan),
            SentBy::Past(route) => Prober::open_past(plan, route.clone()),
        };
        let Ok(mut prober) = opened.inspect_err(|error| tracing::debug!("{}: {error}", change.text)) else {
            return Tally::default();
        };
        prober.run(self.stop, |_| false);
        let sending = prober.sending();
        let kept = sending.received.values().filter(|reply| reply.altered.is_none()).count();
        Tally { sent: sending.probes.len(), answered: kept }
    }

    /// Sends the packets of one, after waiting as long since the last other packet as between two of its own.
    fn after_a_while(&self, change: &Change) -> Tally {
        let until = Instant::now() + change.plan.interval;
        while !self.stop.asked() && Instant::now() < until.min(self.end) {
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        self.alone(change)
    }

    /// Makes the far end send those of `plan` to this one. They have an id of their own: whoever knows the run's would
    /// take them for its packets.
    fn sent_by_far(&self, plan: &ProbePlan) -> Tally {
        let id = Scout::open(plan.settings.kind().family).map(|mut scout| scout.choose());
        let Some(id) = or_log("ids", id) else { return Tally::default() };
        let whole_ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let order = SendOrder {
            echo: Echo::Request,
            id,
            first_seq: plan.first_seq,
            count: plan.count,
            interval_ms: whole_ms(plan.interval),
            size: plan.size,
            nonce: plan.nonce,
            wait_ms: whole_ms(plan.wait),
        };
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sent) = far.as_mut().and_then(|far| far.send(order)) else { return Tally::default() };
        let kept = sent.received.values().filter(|reply| reply.altered.is_none()).count();
        Tally { sent: sent.probes.len(), answered: kept }
    }
}

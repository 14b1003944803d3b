//! Controls: a few more packets, equal to the probes but for one thing, where that may tell what makes the loss.

use std::time::{Duration, Instant};

use crate::{
    diagnosis::control::{ControlKind, ControlRun},
    model::trace::SenderTrace,
    stop::{LOOK, StopSignal},
    traffic::prober::{ProbePlan, Prober, id::Scout, random},
};

/// The pace of `ping`, and a little more: what lets one a second pass lets these pass.
const PACE: Duration = Duration::from_millis(1_050);

/// How many are sent at that pace.
const SLOW: u16 = 2;

/// From how many bytes of payload on a shorter packet is worth a try.
const LONG: u16 = 500;

/// What is sent in place of a long one: as ping does by default.
const SHORT: u16 = 56;

/// How long to wait for the reply to one of them, and how long to go on in all.
const REPLY: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(2);

/// Sends what the end of a run calls for: slower probes where some of them were answered and some were not, shorter ones
/// where long ones were not.
pub(super) fn after(plan: &ProbePlan, sending: &SenderTrace, stop: &StopSignal) -> Vec<ControlRun> {
    let answered = sending.received.len();
    let lossy = answered > 0 && answered < sending.probes.len();
    if answered == 0 && plan.size >= LONG && sending.probes.iter().any(|sent| sent.errno.is_none()) {
        return size(plan, stop).into_iter().collect();
    }
    if !lossy || plan.interval >= Duration::from_secs(1) || !wait(PACE, stop) {
        return Vec::new();
    }
    let Ok(mut scout) = Scout::open(plan.settings.kind().family) else { return Vec::new() };
    // A rule may choose by the sequence number: these are later ones, as those of a longer ping would be.
    let first_seq = plan.first_seq.wrapping_add(u16::try_from(sending.probes.len()).unwrap_or(u16::MAX));
    let slow = ProbePlan { count: SLOW, interval: PACE, first_seq, ..like(plan, &mut scout) };
    let Some((sent, answered)) = send(slow, stop) else { return Vec::new() };
    vec![ControlRun {
        kind: ControlKind::Pace { interval_ms: PACE.as_millis() as u64 },
        sent,
        answered,
        unchanged: None,
    }]
}

/// Returns the plan of a control: that of the run, with a mark and an id of its own, and sent at a steady pace to its end. The
/// run's own socket still has its id, and two ping sockets cannot have one.
fn like(plan: &ProbePlan, scout: &mut Scout) -> ProbePlan {
    ProbePlan {
        id: scout.choose(),
        nonce: random(),
        adaptive: false,
        preload: 1,
        deadline: None,
        enough: None,
        ..plan.clone()
    }
}

/// Finds the longest packet that is answered, by halving; `None` if a short one is not answered either.
fn size(plan: &ProbePlan, stop: &StopSignal) -> Option<ControlRun> {
    let end = Instant::now() + LIMIT;
    let (mut sent, mut answered) = (0, 0);
    let mut scout = Scout::open(plan.settings.kind().family).ok()?;
    let mut passes = |size: u16, count: u16| {
        let interval = Duration::from_millis(10);
        let one = ProbePlan { count, size, interval, wait: REPLY, ..like(plan, &mut scout) };
        let (more_sent, more_answered) = send(one, stop)?;
        sent += more_sent;
        answered += more_answered;
        Some(more_answered > 0)
    };
    if !passes(SHORT, 2)? {
        return None;
    }
    let (mut longest, mut shortest) = (SHORT, plan.size);
    while shortest - longest > 1 && Instant::now() < end {
        let middle = longest + (shortest - longest) / 2;
        if passes(middle, 1)? { longest = middle } else { shortest = middle }
    }
    let kind = ControlKind::Size { passes: longest, fails: shortest };
    Some(ControlRun { kind, sent, answered, unchanged: None })
}

/// Sends the packets of a control, and returns how many, and how many were answered; `None` where that was not possible, or
/// was interrupted.
fn send(plan: ProbePlan, stop: &StopSignal) -> Option<(usize, usize)> {
    let mut prober = Prober::open(plan).inspect_err(|error| tracing::debug!("no control: {error}")).ok()?;
    prober.run(stop, |_| false);
    let sending = prober.sending();
    (!stop.asked()).then_some((sending.probes.len(), sending.received.len()))
}

/// Waits, and returns false if that was interrupted.
fn wait(time: Duration, stop: &StopSignal) -> bool {
    let end = Instant::now() + time;
    while !stop.asked() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(LOOK));
    }
    false
}

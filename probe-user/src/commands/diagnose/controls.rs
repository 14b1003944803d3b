//! Controls: a few more packets that differ from the probes in one thing, sent if that may show what causes the loss.

use std::time::{Duration, Instant};

use crate::{
    diagnosis::control::{ControlKind, ControlRun},
    model::trace::SenderTrace,
    stop::{LOOK, StopSignal},
    traffic::prober::{ProbePlan, Prober, id::Scout, random},
};

/// A little slower than `ping`: a limit of one packet a second lets these pass.
const PACE: Duration = Duration::from_millis(1_050);

/// How many are sent at that pace.
const SLOW: u16 = 2;

/// The smallest payload, in bytes, for which a shorter packet is worth a try.
const LONG: u16 = 500;

/// The payload that is sent instead of a long one, in bytes: ping's default.
const SHORT: u16 = 56;

/// How long to wait for the reply to one of them, and how long all of them may take.
const REPLY: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(2);

/// Sends what the end of a run calls for: slower probes if only some of them were answered, shorter ones if long ones
/// were not answered.
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
    // A rule may match sequence numbers: these continue those of the run, as in a longer ping.
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

/// Returns the plan of a control: that of the run, with a mark and an id of its own, and sent at a steady pace to its
/// end. The run's own socket still holds its id, and two ping sockets cannot share one.
fn like(plan: &ProbePlan, scout: &mut Scout) -> ProbePlan {
    ProbePlan {
        id: scout.choose(),
        nonce: random(),
        adaptive: false,
        preload: 1,
        deadline: None,
        enough: None,
        until_error: false,
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

/// Sends the packets of a control, and returns how many, and how many were answered; `None` if that was not possible,
/// or was interrupted.
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

//! Controls: a few more packets, equal to the probes but for one thing, where that may tell what makes the loss.

use std::time::{Duration, Instant};

use crate::{
    diagnosis::control::{Control, ControlKind},
    model::trace::SenderTrace,
    stop::{LOOK, StopSignal},
    traffic::prober::{ProbePlan, Prober, id::Scout, random},
};

/// The pace of `ping`, and a little more: what lets one a second pass lets these pass.
const PACE: Duration = Duration::from_millis(1_050);

/// How many are sent at that pace.
const SLOW: u16 = 2;

/// Sends what the end of a run calls for: slower probes where some of them were answered and some were not.
pub(super) fn after(plan: &ProbePlan, sending: &SenderTrace, stop: &StopSignal) -> Vec<Control> {
    let answered = sending.received.len();
    let lossy = answered > 0 && answered < sending.probes.len();
    if !lossy || plan.interval >= Duration::from_secs(1) || !wait(PACE, stop) {
        return Vec::new();
    }
    // The run's own socket still has its id, and two ping sockets cannot have one.
    let Ok(mut scout) = Scout::open(plan.settings.kind().family) else { return Vec::new() };
    let slow = ProbePlan {
        id: scout.choose(),
        count: SLOW,
        interval: PACE,
        adaptive: false,
        preload: 1,
        deadline: None,
        enough: None,
        nonce: random(),
        ..plan.clone()
    };
    send(slow, ControlKind::Pace { interval_ms: PACE.as_millis() as u64 }, stop).into_iter().collect()
}

/// Sends the packets of a control; `None` where that was not possible, or was interrupted.
fn send(plan: ProbePlan, kind: ControlKind, stop: &StopSignal) -> Option<Control> {
    let mut prober = Prober::open(plan).inspect_err(|error| tracing::debug!("no control: {error}")).ok()?;
    prober.run(stop, |_| false);
    let sending = prober.sending();
    (!stop.asked()).then(|| Control { kind, sent: sending.probes.len(), answered: sending.received.len() })
}

/// Waits; false if it was interrupted.
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

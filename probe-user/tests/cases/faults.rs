//! Every case of the catalogue, held against counters at all four interfaces of the lab and the kernel's drop events.

mod counts;
mod events;

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use libtest_mimic::Trial;
use probe_ebpf::{Echo, Family};
use probe_user::lab::{
    Nic, Topology,
    fault::{self, Case, FaultAction, FaultLocation, Outcome, exchange, exchange::Exchange, runner},
};

use self::{counts::Counters, events::Events};
use crate::trial::{Beside, Held, trial, version};

/// Packets of the ping whose way is counted.
const COUNT: u64 = 4;

/// The drop events that cases wait for now: one case at a time for each, since the event of one would pass for that of
/// another.
static AWAITED: Mutex<BTreeSet<DropEvent>> = Mutex::new(BTreeSet::new());

/// Told when a case no longer waits for its event.
static GIVEN_BACK: Condvar = Condvar::new();

/// Reason and function of a drop event.
type DropEvent = (&'static str, &'static str);

/// The right to wait for a drop event, until it is dropped.
struct Turn(Option<DropEvent>);

impl Turn {
    /// Waits until no other case waits for the same event.
    fn take(event: Option<DropEvent>) -> Self {
        let mut awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = event {
            while !awaited.insert(event) {
                awaited = GIVEN_BACK.wait(awaited).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Self(event)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.map(|event| awaited.remove(&event));
        GIVEN_BACK.notify_all();
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let trials = fault::all().into_iter().chain(fault::own_socket()).map(|case| {
        let name = format!("faults::{}::{}", case.name, version(case.family));
        trial(name, beside(&case), move || breaks_exactly_what_it_says(&case))
    });
    trials.collect()
}

/// A cgroup is joined by this whole process, and what the kernel lets out of ICMP is spent for all.
pub(crate) fn beside(case: &Case) -> Beside {
    let is_shared = |action: &FaultAction| matches!(action, FaultAction::Cgroup(..) | FaultAction::Spend(_));
    if case.fault.actions.iter().any(is_shared) { Beside::Nobody } else { Beside::Labs }
}

/// Whether the fault breaks exactly what it says; a healthy case delivers.
fn breaks_exactly_what_it_says(case: &Case) -> Result<Held, String> {
    if let Some(why) = fault::case::lacks(case) {
        return Ok(Held::NotTried(why));
    }
    let _turn = Turn::take(wanted(case));
    fault::sweep_cgroups();
    let events = Events::record();
    let wrong = hold_again(case, events.as_ref());
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let unread = events.is_none() && wanted(case).is_some();
    Ok(if unread { Held::NotTried("without tracefs, no drop event is read".to_owned()) } else { Held::Yes })
}

/// How often a case is tried before it counts as wrong: on a busy machine a ping may come late once, or an event.
const TRIES: usize = 3;

/// Where a case is not as the catalogue says, in each of several labs.
fn hold_again(case: &Case, events: Option<&Events>) -> Vec<String> {
    let mut wrong = Vec::new();
    for _ in 0..TRIES {
        wrong = hold(case, events);
        if wrong.is_empty() {
            break;
        }
    }
    wrong
}

/// Where a case is not as the catalogue says.
fn hold(case: &Case, events: Option<&Events>) -> Vec<String> {
    let lab = Topology::build().expect("a lab");
    if let Some(events) = events {
        events.take();
    }
    let broken = match runner::broken(&lab, case) {
        Ok(broken) => broken,
        Err(error) => return vec![error.to_string()],
    };
    let counters = Counters::attach(&lab, nics(case));
    let seen = exchange::expect_in_force(&lab, case);
    let mut wrong = match seen {
        Ok(seen) => places(case, &counters, &seen),
        Err(error) => vec![format!("with counters: {error}")],
    };
    if let Some(events) = events {
        wrong.extend(reasons(case, events));
    }
    drop(broken);
    wrong
}

/// Around what is broken.
fn nics(case: &Case) -> &'static [Nic] {
    match (case.fault.place, case.leg) {
        (FaultLocation::Nothing, _) => &[Nic::B],
        (FaultLocation::Sender, Echo::Request) | (FaultLocation::Receiver, Echo::Reply) => &[Nic::FwA],
        (FaultLocation::Network, Echo::Request) => &[Nic::FwA, Nic::B],
        (FaultLocation::Receiver, Echo::Request) | (FaultLocation::Sender, Echo::Reply) => &[Nic::FwB, Nic::B],
        (FaultLocation::Network, Echo::Reply) => &[Nic::FwB, Nic::A],
    }
}

/// Where the packets came and did not come.
fn places(case: &Case, counters: &Counters, seen: &Exchange) -> Vec<String> {
    let at = Counts { counters, family: case.family, id: seen.id };
    // Unsolicited replies go the way of requests.
    let first = if case.fault.probe.reply_only { Echo::Reply } else { Echo::Request };
    let lossy = case.fault.expected.outcomes.contains(&Outcome::Lossy);
    let only_lossy = case.fault.expected.outcomes == [Outcome::Lossy];
    let mut wrong = Vec::new();
    let mut some = |what: &str, count: u64| {
        if count < COUNT {
            wrong.push(format!("{what}: only {count}"));
        }
    };
    match (case.fault.place, case.leg) {
        (FaultLocation::Nothing, _) => some("answered", seen.answered.len() as u64),
        (FaultLocation::Network, Echo::Request) => some("into the router", at.entered(Nic::FwA, first)),
        (FaultLocation::Receiver, Echo::Request) => some("towards b", at.left(Nic::FwB, first)),
        (FaultLocation::Sender, Echo::Request) => {}
        (FaultLocation::Sender, Echo::Reply) => some("requests into b", at.entered(Nic::B, first)),
        (FaultLocation::Network, Echo::Reply) => some("replies into the router", at.entered(Nic::FwB, Echo::Reply)),
        (FaultLocation::Receiver, Echo::Reply) => some("replies towards a", at.left(Nic::FwA, Echo::Reply)),
    }
    let mut none = |what: &str, count: u64| {
        if (count > 0 && !lossy) || (count == 0 && only_lossy) || count >= COUNT {
            wrong.push(format!("{what}: {count}"));
        }
    };
    match (case.fault.place, case.leg) {
        (FaultLocation::Nothing, _) => {}
        (FaultLocation::Sender, Echo::Request) => none("into the router", at.entered(Nic::FwA, first)),
        (FaultLocation::Network, Echo::Request) => none("into b", at.entered(Nic::B, first)),
        (FaultLocation::Receiver, Echo::Request) => none("replies of b", at.left(Nic::B, Echo::Reply)),
        (FaultLocation::Sender, Echo::Reply) => none("replies into the router", at.entered(Nic::FwB, Echo::Reply)),
        (FaultLocation::Network, Echo::Reply) => none("replies into a", at.entered(Nic::A, Echo::Reply)),
        (FaultLocation::Receiver, Echo::Reply) => none("answered", seen.answered.len() as u64),
    }
    if case.fault.place == FaultLocation::Nothing {
        wrong.extend(shape(case, &at, seen));
    }
    wrong
}

/// Whether a healthy path does what its name says beside delivering.
fn shape(case: &Case, at: &Counts<'_>, seen: &Exchange) -> Option<String> {
    let requests = at.entered(Nic::B, Echo::Request);
    let right = match case.name.as_str() {
        "altered-id" => requests == 0,
        "healthy-duplicates" => requests == 2 * COUNT,
        "healthy-reordered" => !seen.answered.is_sorted(),
        "healthy-same-id" | "healthy-many-same-id" => requests > COUNT,
        _ => requests == COUNT,
    };
    (!right).then(|| format!("{requests} requests with that id into b, answered {:?}", seen.answered))
}

/// One ping's counts.
struct Counts<'a> {
    counters: &'a Counters,
    family: Family,
    id: u16,
}

impl Counts<'_> {
    fn left(&self, nic: Nic, echo: Echo) -> u64 {
        self.counters.left(nic, self.family, echo, self.id)
    }

    fn entered(&self, nic: Nic, echo: Echo) -> u64 {
        self.counters.entered(nic, self.family, echo, self.id)
    }
}

/// The drop event that the catalogue has: reason and function.
fn wanted(case: &Case) -> Option<DropEvent> {
    let measured = case.fault.expected.measured;
    if case.family == Family::V4 { measured.v4 } else { measured.v6 }
}

/// Whether the kernel made the drop event that the catalogue has; some come only after a timeout.
fn reasons(case: &Case, events: &Events) -> Option<String> {
    let show = std::env::var_os("PROBE_FAULTS_SHOW").is_some();
    let mut seen = events.take();
    if let Some((reason, function)) = wanted(case) {
        let pair = (reason.to_owned(), function.to_owned());
        for _ in 0..20 {
            if seen.contains(&pair) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            seen.extend(events.take());
        }
        if !seen.contains(&pair) {
            return Some(format!("no drop event {pair:?}, but {seen:?}"));
        }
    }
    if show {
        eprintln!("{} {:?}: {seen:?}", case.name, case.family);
    }
    None
}

//! How an experiment is run: send, wait until what must arrive has arrived, keep watching for what must not, read.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family, Hop, Kind};

use super::{
    experiment::{
        Answers, Experiment, Ids, Name, Outcome, evaluate,
        outcome::{in_order, kinds},
    },
    plan::{LabHost, Nic},
};
use crate::ledger::Sight;

/// How long packets may take to arrive; in the lab they take microseconds.
pub const LIMIT: Duration = Duration::from_secs(1);

/// How long nothing must change before a run is over.
pub const QUIET: Duration = Duration::from_millis(50);

/// How often the counters are read.
pub const POLL: Duration = Duration::from_millis(2);

/// What an experiment needs of the lab it runs in.
pub trait Instruments {
    /// Why something cannot be done.
    type Error;

    /// Keeps B's kernel from answering requests of `family` with these ids, after they were counted; all others it
    /// answers. It holds until the next call.
    fn absorb(&mut self, family: Family, ids: &[u16]) -> Result<(), Self::Error>;

    /// Sends `count` echo packets from a host to the other one: A to B, B to A. A send that the kernel refuses is an
    /// error.
    fn send(&mut self, from: LabHost, kind: Kind, id: u16, count: u32) -> Result<(), Self::Error>;

    /// What `hop` at `nic` has counted of this kind and id.
    fn sight(&mut self, nic: Nic, hop: Hop, kind: Kind, id: u16) -> Result<Sight, Self::Error>;

    /// The hop that counts what enters `nic`.
    fn ingress(&self, nic: Nic) -> Hop;

    /// The time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Waits.
    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// What every checkpoint counted at one time.
type Reading = BTreeMap<(Name, Echo, Nic), Sight>;

/// Runs `experiment` once over `family`. The ids must be fresh: what earlier packets with them left in the counters or
/// in the firewall would be taken for this run's.
pub fn run<I: Instruments>(
    experiment: &Experiment,
    family: Family,
    ids: Ids,
    instruments: &mut I,
) -> Result<Outcome, I::Error> {
    let mut run = Run { experiment, family, ids, instruments };
    match experiment.answers {
        Answers::Kernel => run.instruments.absorb(family, &[])?,
        Answers::Nobody => run.instruments.absorb(family, &[ids.x, ids.y])?,
    }
    let mut deadline = run.instruments.now() + LIMIT;
    for (index, step) in experiment.steps.iter().enumerate() {
        run.instruments.send(step.from, Kind { family, echo: step.echo }, ids.number(step.id), step.count)?;
        deadline = run.instruments.now() + LIMIT;
        // A step begins when the one before has arrived: a reply must not overtake its request.
        run.wait_for_arrival(index + 1, deadline)?;
    }
    let reading = run.wait_for_quiet(deadline)?;
    let sight = |echo, id, nic| reading[&(id, echo, nic)].clone();
    Ok(evaluate(experiment, family, ids, |nic| run.instruments.ingress(nic), sight))
}

struct Run<'a, I> {
    experiment: &'a Experiment,
    family: Family,
    ids: Ids,
    instruments: &'a mut I,
}

impl<I: Instruments> Run<'_, I> {
    fn read(&mut self) -> Result<Reading, I::Error> {
        let mut reading = Reading::new();
        for (id, echo) in kinds() {
            let (kind, number) = (Kind { family: self.family, echo }, self.ids.number(id));
            for (place, nic) in in_order(echo).into_iter().enumerate() {
                let hop = if place % 2 == 0 { Hop::TcOut } else { self.instruments.ingress(nic) };
                reading.insert((id, echo, nic), self.instruments.sight(nic, hop, kind, number)?);
            }
        }
        Ok(reading)
    }

    /// Returns when everything that the first `steps` steps must bring has come wherever one can see, or at `deadline`.
    fn wait_for_arrival(&mut self, steps: usize, deadline: Instant) -> Result<(), I::Error> {
        loop {
            let reading = self.read()?;
            if self.has_arrived(&reading, steps) || self.instruments.now() >= deadline {
                return Ok(());
            }
            self.instruments.pause(POLL);
        }
    }

    fn has_arrived(&self, reading: &Reading, steps: usize) -> bool {
        kinds().all(|(id, echo)| {
            let expected = self.experiment.expected(steps, echo, id);
            let sights = in_order(echo).map(|nic| reading[&(id, echo, nic)].packets());
            sights
                .into_iter()
                .zip(expected)
                .all(|(packets, expected)| packets.is_none_or(|packets| packets >= expected))
        })
    }

    /// Returns the first reading that stayed the same for [`QUIET`], or the one at `deadline`.
    fn wait_for_quiet(&mut self, deadline: Instant) -> Result<Reading, I::Error> {
        let mut reading = self.read()?;
        let mut since = self.instruments.now();
        loop {
            let now = self.instruments.now();
            if now >= since + QUIET || now >= deadline {
                return Ok(reading);
            }
            self.instruments.pause(POLL);
            let next = self.read()?;
            if next != reading {
                since = self.instruments.now();
                reading = next;
            }
        }
    }
}

/// Echo ids that this process has not used yet, at random.
#[derive(Debug, Default)]
pub struct FreshIds {
    used: std::collections::BTreeSet<u16>,
}

impl FreshIds {
    /// Two more.
    pub fn pair(&mut self) -> Ids {
        Ids { x: self.one(), y: self.one() }
    }

    fn one(&mut self) -> u16 {
        loop {
            let id = random_number();
            // 0 is a valid id, and the least telling one in a report.
            if id != 0 && self.used.insert(id) {
                return id;
            }
        }
    }
}

/// The standard library seeds its hashers from the kernel's randomness.
fn random_number() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    let [low, high, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    u16::from_ne_bytes([low, high])
}

#[cfg(test)]
mod tests;

//! What the counts of a run mean: where each kind of packet came to, where it stopped, whether that is as designed.

use probe_ebpf::{Echo, Family, Hop};

use super::{Experiment, Ids, Name};
use crate::{
    lab::plan::Nic,
    ledger::{Ledger, Sight, Stop},
    path::{Leg, Path, Place},
};

/// What was counted of one kind of packet with one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Request or reply.
    pub echo: Echo,
    /// The id's name.
    pub id: Name,
    /// Its number.
    pub number: u16,
    /// The checkpoints in the order of this leg, with what each counted.
    pub ledger: Ledger,
    /// What each should have counted.
    pub expected: [u64; Nic::ALL.len()],
    /// How many probe sent; nothing where it sent none.
    pub sent: Option<u64>,
}

impl Track {
    /// Whether there is anything to tell of it: some were meant to pass, or some did, or an eye was shut.
    pub fn matters(&self) -> bool {
        self.expected != [0; Nic::ALL.len()] || self.ledger.rows.iter().any(|row| row.sight.packets() != Some(0))
    }

    /// Where its packets stop, the call that sends them included.
    fn stops(&self) -> Vec<Stop> {
        let path = Path {
            leg: self.ledger.leg,
            checkpoints: self.ledger.rows.iter().map(|row| row.checkpoint.clone()).collect(),
        };
        let sights = self.ledger.rows.iter().map(|row| row.sight.clone());
        match self.sent {
            Some(sent) => Ledger::new(path.from_send(), std::iter::once(Sight::counted(sent)).chain(sights)).stops(),
            None => self.ledger.stops(),
        }
    }

    /// Where the counts are not the designed ones, one clause each.
    fn differences(&self) -> Vec<String> {
        let what = format!("{} {}", self.ledger.leg.name(), self.id);
        let pairs = self.ledger.rows.iter().zip(self.expected);
        let unlike = pairs.filter(|(row, expected)| row.sight.packets() != Some(*expected));
        unlike
            .map(|(row, expected)| match &row.sight {
                Sight::Blind(why) => format!("{} was blind to {what} ({why})", row.checkpoint),
                sight => format!("{} counted {sight} of {what} where the design says {expected}", row.checkpoint),
            })
            .collect()
    }
}

/// What one run of an experiment showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which experiment.
    pub experiment: Experiment,
    /// Over which IP version.
    pub family: Family,
    /// With which ids.
    pub ids: Ids,
    /// What was counted, each kind and id that matters.
    pub tracks: Vec<Track>,
    /// Where packets stopped and of which id they were, most packets first.
    pub stops: Vec<(Name, Stop)>,
    /// Where the counts are not the designed ones; nothing if the run came out as designed.
    pub differences: Vec<String>,
}

/// What the counts of a run mean. `sight` gives what an interface counted of a kind of packet with an id, `ingress` the
/// hop that counts what enters an interface.
pub fn evaluate(
    experiment: &Experiment,
    family: Family,
    ids: Ids,
    ingress: impl Fn(Nic) -> Hop,
    sight: impl Fn(Echo, Name, Nic) -> Sight,
) -> Outcome {
    let track = |(id, echo): (Name, Echo)| Track {
        echo,
        id,
        number: ids.number(id),
        ledger: Ledger::new(path(echo, &ingress), in_order(echo).map(|nic| sight(echo, id, nic))),
        expected: experiment.expected(experiment.steps.len(), echo, id),
        sent: experiment.sent(echo, id),
    };
    let tracks: Vec<_> = kinds().map(track).filter(Track::matters).collect();
    let of_track = |track: &Track| track.stops().into_iter().map(|stop| (track.id, stop)).collect::<Vec<_>>();
    let mut stops: Vec<_> = tracks.iter().flat_map(of_track).collect();
    stops.sort_by_key(|(_, stop)| std::cmp::Reverse(stop.packets));
    let differences = tracks.iter().flat_map(Track::differences).collect();
    Outcome { experiment: *experiment, family, ids, tracks, stops, differences }
}

/// Every kind of packet that an experiment can see, in the order in which a report shows them.
pub fn kinds() -> impl Iterator<Item = (Name, Echo)> {
    Name::ALL.into_iter().flat_map(|id| [(id, Echo::Request), (id, Echo::Reply)])
}

/// The interfaces in the order in which packets of this kind pass them: out of the first, into the second, and so on.
pub fn in_order(echo: Echo) -> [Nic; Nic::ALL.len()] {
    let mut order = Nic::ALL;
    if echo == Echo::Reply {
        order.reverse();
    }
    order
}

/// The checkpoints of the lab's path, in that order.
pub fn path(echo: Echo, ingress: impl Fn(Nic) -> Hop) -> Path {
    let place =
        |nic: Nic| Place { host: nic.host().name().into(), interface: nic.interface().into(), ingress: ingress(nic) };
    Path::over(Leg::of(echo), &Nic::ALL.map(place))
}

impl Outcome {
    /// Whether every checkpoint counted what the design says.
    pub fn as_expected(&self) -> bool {
        self.differences.is_empty()
    }

    /// What the run teaches, or where it differs from the design.
    pub fn finding(&self) -> String {
        if self.as_expected() {
            return self.experiment.lesson.to_owned();
        }
        format!("Not as designed: {}.", self.differences.join("; "))
    }
}

//! The experiments as data: who sends what, how far it must come, and what that teaches.

pub mod outcome;

use std::fmt;

use probe_ebpf::Echo;

pub use self::outcome::{Outcome, Track, evaluate};
use super::plan::{LabHost, Nic};

/// A scripted exchange between A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it tries, in a few words.
    pub title: &'static str,
    /// Who answers A's requests.
    pub answers: Answers,
    /// What is sent, in this order.
    pub steps: &'static [Step],
    /// What it teaches when it comes out as designed, for a reader who wants to understand stateful firewalls.
    pub lesson: &'static str,
}

/// Who answers the requests that reach B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// B's kernel: one reply to each request.
    Kernel,
    /// Nobody: probe takes them from B's kernel, and B sends only what the steps say.
    Nobody,
}

/// One sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who sends: A requests, B replies.
    pub from: LabHost,
    /// What.
    pub echo: Echo,
    /// With which id.
    pub id: Name,
    /// How many packets.
    pub count: u32,
    /// How far they must come.
    pub reach: Reach,
}

/// The name of an echo id; every run gives it another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The first id.
    X,
    /// Another id.
    Y,
}

impl Name {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X, Self::Y];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X => "X",
            Self::Y => "Y",
        })
    }
}

/// How far packets come by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the other host.
    OtherHost,
    /// Into the firewall, and not out of it.
    Firewall,
}

/// The numbers of the ids in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// What X stands for.
    pub x: u16,
    /// What Y stands for; another number.
    pub y: u16,
}

impl Ids {
    /// The number behind `name`.
    pub fn number(self, name: Name) -> u16 {
        match name {
            Name::X => self.x,
            Name::Y => self.y,
        }
    }
}

/// A reply as B sends it by hand.
const fn reply(id: Name, count: u32, reach: Reach) -> Step {
    Step { from: LabHost::B, echo: Echo::Reply, id, count, reach }
}

/// A's one request, which the firewall's rule lets pass.
const REQUEST: Step = Step { from: LabHost::A, echo: Echo::Request, id: Name::X, count: 1, reach: Reach::OtherHost };

/// The four experiments, in the order in which they teach.
pub const ALL: [Experiment; 4] = [
    Experiment {
        name: "normal",
        title: "a request, and the reply to it",
        answers: Answers::Kernel,
        steps: &[REQUEST],
        lesson: "The firewall has one rule: A may ping. It let the request out and noted it in its connection table. \
                 No rule lets the reply in; it passed because it belongs to what the table holds. That is what \
                 'stateful' means: ask, and the answer may come back.",
    },
    Experiment {
        name: "reply-only",
        title: "replies that nobody asked for",
        answers: Answers::Nobody,
        steps: &[reply(Name::X, 3, Reach::Firewall)],
        lesson: "The replies left B and entered the firewall, and none came out: A never asked, so the connection \
                 table has nothing that they could belong to, and no rule lets them in. Neither host lost them. An \
                 echo reply is not let in for being a reply, but for having been asked for.",
    },
    Experiment {
        name: "many-replies",
        title: "one request, five replies",
        answers: Answers::Nobody,
        steps: &[REQUEST, reply(Name::X, 5, Reach::OtherHost)],
        lesson: "One request let five replies in. Linux connection tracking does not count replies, and the first one \
                 does not close the entry: it ends by time alone, by default 30 seconds after the last packet. Until \
                 then B may send as many replies with this id as it likes.",
    },
    Experiment {
        name: "id-mismatch",
        title: "a request with one id, replies with another and with the same",
        answers: Answers::Nobody,
        steps: &[REQUEST, reply(Name::Y, 1, Reach::Firewall), reply(Name::X, 1, Reach::OtherHost)],
        lesson: "Both replies left B in the same moment and differ in nothing but the id. The one with the id that A \
                 had asked with arrived; the other entered the firewall and did not come out. So the id is part of \
                 what the firewall remembers. It was neither B's kernel nor its driver: B's NIC counted both replies \
                 out, the firewall's NIC counted both in.",
    },
];

impl Experiment {
    /// The experiment with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|experiment| experiment.name == name)
    }

    /// What each checkpoint of `echo` packets with `id` counts by design after the first `steps` steps, in path order.
    pub fn expected(&self, steps: usize, echo: Echo, id: Name) -> [u64; Nic::ALL.len()] {
        let mut counts = [0; Nic::ALL.len()];
        for step in self.steps.iter().take(steps).filter(|step| step.id == id) {
            let by_kernel = self.answers == Answers::Kernel && step.echo == Echo::Request && echo == Echo::Reply;
            if step.echo == echo || (by_kernel && step.reach == Reach::OtherHost) {
                let passed = if step.reach == Reach::Firewall { 2 } else { counts.len() };
                counts[..passed].iter_mut().for_each(|count| *count += u64::from(step.count));
            }
        }
        counts
    }

    /// How many packets probe itself sends of this kind: nothing where the kernel sends them.
    pub fn sent(&self, echo: Echo, id: Name) -> Option<u64> {
        let ours = self.steps.iter().filter(|step| step.echo == echo && step.id == id);
        let sent = ours.map(|step| u64::from(step.count)).sum();
        (sent > 0).then_some(sent)
    }
}

#[cfg(test)]
mod tests;

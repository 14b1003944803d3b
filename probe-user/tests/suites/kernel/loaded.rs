//! Programs that are loaded for one job and attached to nothing, with what they should have counted so far.

use std::collections::BTreeMap;

use aya::{
    Ebpf, TestRun,
    programs::{Program, TestRunOptions, TestRunResult},
};
use probe_ebpf::{Hop, Kind, Skip, Tunnels, hop::NIC_HOPS, names};
use probe_user::{
    ebpf::{
        filter::Rules,
        flows::{self, FlowMaps},
        load::{Job, Rows, Switch, load, load_with},
        ring::Ring,
        tallies::{SkipMap, TallyMap},
    },
    filter::rules::RuleSet,
    model::snapshot::Tallies,
};

/// Every hop that counts by id.
pub(crate) const ALL_HOPS: [Hop; 3] = NIC_HOPS;

/// Whether `BPF_PROG_TEST_RUN` takes the frame: it wants an Ethernet header, and at tc something behind it; newer kernels
/// want all of an IP header there. `long.rs` sends what it does not take.
pub(crate) fn can_be_run(hop: Hop, frame: &[u8]) -> bool {
    let shortest = match (hop, frame.get(12..14)) {
        (Hop::XdpIn, _) => 14,
        (_, Some([0x08, 0x00])) => 14 + 20,
        (_, Some([0x86, 0xdd])) => 14 + 40,
        _ => 15,
    };
    frame.len() >= shortest
}

/// The answer of a program to the kernel about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    Drop,
}

/// An echo packet as a tally counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) kind: Kind,
    pub(crate) id: u16,
    /// From the first of the IP header on.
    pub(crate) bytes: u64,
}

/// Loaded programs with their counters, and what these should say.
pub(crate) struct Loaded {
    pub(crate) programs: Ebpf,
    tallies: BTreeMap<Hop, TallyMap>,
    dropped: Option<TallyMap>,
    skips: SkipMap,
    expected: BTreeMap<Hop, Tallies>,
    expected_skips: BTreeMap<Skip, u64>,
}

impl Loaded {
    pub(crate) fn new(job: &Job) -> Self {
        Self::of(job, load(job).expect("the kernel takes the programs"))
    }

    pub(crate) fn with_rows(job: &Job, rows: Rows) -> Self {
        Self::of(job, load_with(job, rows).expect("the kernel takes the programs"))
    }

    fn of(job: &Job, mut programs: Ebpf) -> Self {
        let mut take = |name| TallyMap::take(&mut programs, name).expect("a tally");
        let tallies =
            job.hops.iter().map(|hop| (*hop, take(hop.row().tally.expect("hops of a NIC have one")))).collect();
        let dropped = (job.filter == Switch::On).then(|| take(names::TALLY_DROP));
        let skips = SkipMap::take(&mut programs).expect("the skips");
        if job.track == Switch::On {
            flows::begin(&mut programs).expect("the switch");
        }
        let expected = job.hops.iter().map(|hop| (*hop, Tallies::new())).collect();
        Self { programs, tallies, dropped, skips, expected, expected_skips: BTreeMap::new() }
    }

    /// Runs the program of `hop` on `frame`.
    pub(crate) fn run(&self, hop: Hop, frame: &[u8]) -> Action {
        self.repeat(hop, frame, 1)
    }

    /// Runs the program of `hop` on `frame` this many times.
    pub(crate) fn repeat(&self, hop: Hop, frame: &[u8], times: u32) -> Action {
        let options = TestRunOptions { data_in: Some(frame), repeat: times, ..TestRunOptions::default() };
        let program = self.programs.program(hop.row().program).expect("the program is there");
        let (result, pass, drop): (Result<TestRunResult, _>, u32, u32) = match program {
            Program::Xdp(xdp) => (xdp.test_run(options), 2, 1),
            Program::SchedClassifier(tc) => (tc.test_run(options), u32::MAX, 2),
            other => panic!("{other:?} is at no hop"),
        };
        let result =
            result.unwrap_or_else(|error| panic!("{}, {} bytes {frame:02x?}: {error:?}", hop.name(), frame.len()));
        match result.return_value {
            value if value == pass => Action::Pass,
            value if value == drop => Action::Drop,
            other => panic!("{} returned {other}", hop.name()),
        }
    }

    /// Runs the program of `hop` on `frame`, which must pass and be counted or skipped so, and nothing else.
    pub(crate) fn expect(&mut self, hop: Hop, frame: &[u8], expected: Result<Counted, Skip>, about: &str) {
        let action = self.run(hop, frame);
        assert_eq!(action, Action::Pass, "{about} at {}", hop.name());
        self.note(hop, expected);
        if let Ok(Counted { kind, id, .. }) = expected {
            let wanted = self.expected[&hop][&id].kinds[kind.index()];
            assert_eq!(self.tallies[&hop].count(kind, id), wanted, "{about} at {}", hop.name());
        }
        assert_eq!(self.skips(), self.expected_skips, "{about} at {}", hop.name());
    }

    /// Adds to what the counters should say.
    pub(crate) fn note(&mut self, hop: Hop, seen: Result<Counted, Skip>) {
        match seen {
            Ok(Counted { kind, id, bytes }) => {
                let tallies = self.expected.get_mut(&hop).expect("a hop of this job");
                let count = &mut tallies.entry(id).or_default().kinds[kind.index()];
                count.packets += 1;
                count.bytes += bytes;
            }
            Err(Skip::NotEcho) => {}
            Err(skip) => *self.expected_skips.entry(skip).or_default() += 1,
        }
    }

    /// Checks that the counters say what they should, of every id and every cause.
    pub(crate) fn check(&self) {
        for (hop, expected) in &self.expected {
            assert_eq!(&self.tallies[hop].read(), expected, "{}", hop.name());
        }
        assert_eq!(self.skips(), self.expected_skips);
    }

    pub(crate) fn packets(&self, hop: Hop, kind: Kind, id: u16) -> u64 {
        self.tallies[&hop].count(kind, id).packets
    }

    pub(crate) fn dropped(&self) -> Tallies {
        self.dropped.as_ref().expect("a job that filters").read()
    }

    pub(crate) fn skips(&self) -> BTreeMap<Skip, u64> {
        self.skips.read().expect("the skips can be read")
    }

    /// The program of `hop` with `set`, as `probe filter` loads it, and the rules as that would read them.
    pub(crate) fn filtering(hop: Hop, set: &RuleSet) -> (Self, Rules) {
        Self::filtering_in(hop, set, None)
    }

    /// Filters echo inside the packets of these tunnels too.
    pub(crate) fn filtering_in(hop: Hop, set: &RuleSet, inner: Option<Tunnels>) -> (Self, Rules) {
        let job =
            Job { filter: Switch::On, needs: set.needs(), filtered: hop.direction(), inner, ..Job::count(&[hop]) };
        let mut loaded = Self::new(&job);
        let mut rules = loaded.rules();
        rules.fill(set).expect("it can be written");
        (loaded, rules)
    }

    pub(crate) fn rules(&mut self) -> Rules {
        Rules::take(&mut self.programs).expect("the rules")
    }

    pub(crate) fn flows(&mut self) -> FlowMaps {
        FlowMaps::take(&mut self.programs).expect("the flows")
    }

    pub(crate) fn ring(&mut self) -> Ring {
        Ring::take(&mut self.programs).expect("the ring")
    }
}

//! A guard in the kernel and its model, shown the same packets at the same times.

use aya::{
    Ebpf, TestRun,
    maps::Array,
    programs::{Program, TestRunOptions},
};
use bytemuck::Zeroable as _;
use probe_ebpf::{Direction, Family, GuardConfig, GuardCount, GuardRecord, names, packet::LinkLayer};
use probe_user::{
    ebpf::{
        border::Plain,
        guard::{GuardMaps, load},
    },
    filter::guard::{
        GuardOptions,
        model::{GuardModel, GuardVerdict, ModelPacket},
    },
    traffic::{EchoMessage, Frame},
};

use crate::kernel::loaded::Action;

/// Where a guard sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Xdp,
    XdpGeneric,
    In,
    Out,
}

impl Place {
    pub(super) const ALL: [Self; 4] = [Self::Xdp, Self::XdpGeneric, Self::In, Self::Out];

    fn program(self) -> &'static str {
        match self {
            Self::Xdp => names::GUARD_XDP,
            Self::XdpGeneric => names::GUARD_XDP_GENERIC,
            Self::In => names::GUARD_IN,
            Self::Out => names::GUARD_OUT,
        }
    }

    pub(super) fn direction(self) -> Direction {
        if self == Self::Out { Direction::Out } else { Direction::In }
    }
}

pub(super) struct Both {
    programs: Ebpf,
    maps: GuardMaps,
    clock: Array<aya::maps::MapData, Plain<GuardRecord>>,
    pub(super) model: GuardModel,
    now_ns: u64,
    dropped: std::collections::BTreeMap<u16, u64>,
}

impl Both {
    pub(super) fn new(options: &GuardOptions, seed: u64) -> Self {
        Self::with(options, seed, |_| {})
    }

    /// With a configuration that is changed before it is loaded.
    pub(super) fn with(options: &GuardOptions, seed: u64, change: impl FnOnce(&mut GuardConfig)) -> Self {
        let secret =
            std::array::from_fn(|index| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(13 * index as u32));
        let mut config = options.config(secret).expect("they agree");
        config.test_clock = 1;
        change(&mut config);
        let wanted = Place::ALL.map(Place::program);
        let mut programs = load(&config, LinkLayer::Ethernet, &wanted).expect("the kernel takes the programs");
        let clock = programs.take_map(names::GUARD).expect("the record").try_into().expect("an array");
        let maps = GuardMaps::take(&mut programs).expect("the maps");
        let mut both = Self {
            programs,
            maps,
            clock,
            model: GuardModel::new(config),
            now_ns: 0,
            dropped: std::collections::BTreeMap::new(),
        };
        both.pass_time(1_000_000_000);
        both
    }

    pub(super) fn pass_time(&mut self, nanoseconds: u64) {
        self.now_ns += nanoseconds;
        let record = GuardRecord { clock_ns: self.now_ns, ..GuardRecord::zeroed() };
        self.clock.set(0, Plain(record), 0).expect("it can be set");
    }

    /// Shows both a packet; they must agree.
    pub(super) fn see(&mut self, place: Place, seen: &ModelPacket, about: &str) {
        let before = self.drops();
        let expected = match self.model.see(self.now_ns, seen) {
            GuardVerdict::Pass => Action::Pass,
            GuardVerdict::Drop => Action::Drop,
        };
        *self.dropped.entry(seen.id).or_default() += self.drops() - before;
        assert_eq!(self.run(place, &frame(seen)), expected, "{about}");
    }

    fn drops(&self) -> u64 {
        GuardCount::ALL.into_iter().filter(|what| what.is_drop()).map(|what| self.model.count(what)).sum()
    }

    /// Runs the program of `place` on a frame.
    pub(super) fn run(&self, place: Place, frame: &[u8]) -> Action {
        let options = TestRunOptions { data_in: Some(frame), repeat: 1, ..TestRunOptions::default() };
        let program = self.programs.program(place.program()).expect("the program is there");
        let (result, pass, drop) = match program {
            Program::Xdp(xdp) => (xdp.test_run(options), 2, 1),
            Program::SchedClassifier(tc) => (tc.test_run(options), u32::MAX, 2),
            other => panic!("{other:?} is no program of a guard"),
        };
        let value = result.unwrap_or_else(|error| panic!("{place:?}: {error:?}")).return_value;
        match value {
            _ if value == pass => Action::Pass,
            _ if value == drop => Action::Drop,
            other => panic!("{place:?} returned {other}"),
        }
    }

    /// Compares all that both have counted.
    pub(super) fn compare(&self, about: &str) {
        let counts = self.maps.read_at(self.now_ns).expect("they can be read");
        for what in GuardCount::ALL {
            assert_eq!(counts.of(what), self.model.count(what), "{what:?}, {about}");
        }
        assert_eq!(counts.states, self.model.states(self.now_ns) as u64, "{about}");
        for (id, dropped) in &self.dropped {
            assert_eq!(self.maps.dropped(*id), *dropped, "id {id}, {about}");
        }
    }
}

/// The packet as a frame.
fn frame(seen: &ModelPacket) -> Vec<u8> {
    let message = EchoMessage::new(seen.kind, seen.id, seen.seq, b"payload").code(seen.code);
    match seen.kind.family {
        Family::V4 => {
            let address = |bytes: [u8; 16]| [bytes[12], bytes[13], bytes[14], bytes[15]].into();
            Frame::v4(address(seen.source), address(seen.destination), &message).bytes()
        }
        Family::V6 => Frame::v6(seen.source.into(), seen.destination.into(), &message).bytes(),
    }
}

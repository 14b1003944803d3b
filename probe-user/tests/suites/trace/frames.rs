//! The hops of a NIC on single frames, by `BPF_PROG_TEST_RUN`: which frames are noted as which probe, and which are not.

use std::net::{Ipv4Addr, Ipv6Addr};

use aya::{
    Ebpf,
    programs::{Program, TestRun, TestRunOptions},
};
use bytemuck::Zeroable;
use probe_ebpf::{
    Echo, Family, Hop, Kind, Offsets,
    contract::{drops::DropConfig, hop::NIC_HOPS, journey::MAX_PROBES},
    packet::LinkLayer,
};
use probe_user::{
    ebpf::{
        journeys::Journeys,
        load::{self, Capture, Job, Journey, Switch},
    },
    traffic::{EchoMessage, Frame},
};

use super::ping::payload;
use crate::common;

const NONCE: u64 = 0x0102_0304_0506_0708;
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

struct Bench {
    programs: Ebpf,
    journeys: Journeys,
}

impl Bench {
    fn new() -> Self {
        let journey = Journey {
            nonce: NONCE,
            numbered: None,
            netns: 0,
            offsets: Offsets::NONE,
            drops: DropConfig::zeroed(),
            crossings: 0,
            everywhere: false,
            opens: 0,
            drop_ring_bytes: 1 << 16,
        };
        let job = Job { count: Switch::Off, journey: Some(journey), ..Job::count(&NIC_HOPS) };
        let mut programs = load::load(&job).expect("programs load");
        let journeys = Journeys::take(&mut programs).expect("journeys");
        Self { programs, journeys }
    }

    /// Hands `frame` to the program of `hop`, which must pass it on.
    fn run(&mut self, hop: Hop, frame: &[u8]) {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let program = self.programs.program_mut(hop.row().program).expect("a program");
        let (answer, pass) = match program {
            Program::Xdp(xdp) => (xdp.test_run(options), 2),
            Program::SchedClassifier(tc) => (tc.test_run(options), u32::MAX),
            _ => panic!("{hop:?} is no hop of a NIC"),
        };
        assert_eq!(answer.expect("runs").return_value, pass, "{hop:?}");
    }

    fn times(&self, hop: Hop, echo: Echo, probe: u16) -> u32 {
        self.journeys.step(hop, echo, probe).map_or(0, |step| step.times)
    }

    /// Everything that was noted so far.
    fn noted(&self) -> u32 {
        let all = self.journeys.read(MAX_PROBES as u16);
        all.values()
            .flat_map(|(requests, replies)| requests.values().chain(replies.values()))
            .map(|step| step.times)
            .sum()
    }
}

fn kind(family: Family, echo: Echo) -> Kind {
    Kind { family, echo }
}

#[test]
fn a_marked_frame_is_noted_by_each_hop_of_a_nic_in_every_shape() {
    if !common::is_root("a_marked_frame_is_noted_by_each_hop_of_a_nic_in_every_shape") {
        return;
    }
    let mut bench = Bench::new();
    for echo in [Echo::Request, Echo::Reply] {
        let v4 = |probe| payload(NONCE, probe, 56);
        let message = |family, payload| EchoMessage::new(kind(family, echo), 0xbeef, 3, payload);
        let payloads: Vec<_> = (0..6).map(v4).collect();
        let frames = [
            Frame::v4(A, B, &message(Family::V4, &payloads[0])).ttl(9).bytes(),
            Frame::v4(A, B, &message(Family::V4, &payloads[1])).vlan(0x8100, 5).ttl(9).bytes(),
            Frame::v4(A, B, &message(Family::V4, &payloads[2])).options(&[1; 40]).ttl(9).bytes(),
            Frame::v6(A6, B6, &message(Family::V6, &payloads[3])).ttl(9).bytes(),
            Frame::v6(A6, B6, &message(Family::V6, &payloads[4])).hop_by_hop(&[]).destination(&[]).ttl(9).bytes(),
            Frame::v4(A, B, &message(Family::V4, &payload(NONCE, MAX_PROBES as u16 - 1, 16))).ttl(9).bytes(),
        ];
        let probes = [0, 1, 2, 3, 4, MAX_PROBES as u16 - 1];
        for hop in NIC_HOPS {
            for (probe, frame) in probes.into_iter().zip(&frames) {
                bench.run(hop, frame);
                assert_eq!(bench.times(hop, echo, probe), 1, "{hop:?} {echo:?} {probe}");
                let first = bench.journeys.step(hop, echo, probe).expect("seen");
                assert_eq!((first.id, first.ttl), (0xbeef, 9));
                bench.run(hop, frame);
                let again = bench.journeys.step(hop, echo, probe).expect("seen");
                assert_eq!((again.times, again.first_ns), (2, first.first_ns), "the first time stays");
            }
        }
    }
    let all = 2 * 2 * 6 * u32::try_from(NIC_HOPS.len()).expect("few");
    assert_eq!(bench.noted(), all, "nothing else was written");
}

#[test]
fn a_frame_without_this_runs_whole_mark_is_not_noted() {
    if !common::is_root("a_frame_without_this_runs_whole_mark_is_not_noted") {
        return;
    }
    let mut bench = Bench::new();
    let mut flipped = payload(NONCE, 0, 56);
    flipped[0] ^= 1;
    let mut reserved = payload(NONCE, 0, 56);
    reserved[6] = 1;
    let payloads = [
        flipped,
        reserved,
        payload(NONCE ^ 1, 0, 56),
        payload(NONCE ^ 1 << 63, 0, 56),
        payload(NONCE, MAX_PROBES as u16, 56),
        payload(NONCE, 0, 16)[..15].to_vec(),
        Vec::new(),
    ];
    for payload in &payloads {
        let request = EchoMessage::new(kind(Family::V4, Echo::Request), 1, 1, payload);
        let frame = Frame::v4(A, B, &request).bytes();
        for hop in NIC_HOPS {
            bench.run(hop, &frame);
        }
    }
    let cut = Frame::v4(A, B, &EchoMessage::new(kind(Family::V4, Echo::Request), 1, 1, &payload(NONCE, 0, 16))).bytes();
    for hop in NIC_HOPS {
        bench.run(hop, &cut[..cut.len() - 1]);
    }
    assert_eq!(bench.noted(), 0);
}

#[test]
fn the_verifier_takes_the_hops_of_a_nic_for_every_job() {
    if !common::is_root("the_verifier_takes_the_hops_of_a_nic_for_every_job") {
        return;
    }
    let journey = Journey {
        nonce: NONCE,
        numbered: None,
        netns: 0,
        offsets: Offsets::NONE,
        drops: DropConfig::zeroed(),
        crossings: 0,
        everywhere: false,
        opens: 0,
        drop_ring_bytes: 1 << 16,
    };
    let switches = [Switch::Off, Switch::On];
    for (track, filter) in switches.into_iter().flat_map(|track| switches.map(|filter| (track, filter))) {
        for capture in [Capture::Nothing, Capture::Everything, Capture::Matched] {
            for journey in [None, Some(journey)] {
                for link_layer in [LinkLayer::Ethernet, LinkLayer::RawIp] {
                    let job = Job {
                        count: Switch::Off,
                        link_layer,
                        track,
                        filter,
                        capture,
                        journey,
                        ..Job::count(&NIC_HOPS)
                    };
                    if let Err(error) = load::load(&job) {
                        panic!("{job:?}: {error}");
                    }
                }
            }
        }
    }
}

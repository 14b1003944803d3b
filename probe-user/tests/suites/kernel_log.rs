//! The log of the kernel programs, which is chosen before they are loaded: off, it is not in them.
//!
//! One test in a process of its own: the choice holds for all programs that a process loads from then on.

use aya::{
    Ebpf, TestRun,
    programs::{Program, TestRunOptions},
};
use probe_ebpf::{Echo, Family, Hop, Kind, hop::NIC_HOPS};
use probe_user::{
    ebpf::{
        load::{Job, load},
        log::turn_on,
    },
    traffic::{EchoMessage, Frame},
};

use crate::{common::alone, kernel::ready::ready};

/// Bytes of the programs' instructions after the verifier took out what is off.
fn sizes(programs: &Ebpf) -> Vec<u32> {
    let size = |name| {
        let info = programs.program(name).expect("the program is there").info().expect("it is loaded");
        info.size_translated().expect("root may know")
    };
    NIC_HOPS.iter().map(|hop| size(hop.row().program)).collect()
}

fn run(programs: &Ebpf, hop: Hop) {
    let kind = Kind { family: Family::V4, echo: Echo::Request };
    let frame =
        Frame::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), &EchoMessage::new(kind, 7, 1, b"payload")).bytes();
    let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
    match programs.program(hop.row().program).expect("the program is there") {
        Program::Xdp(xdp) => xdp.test_run(options),
        Program::SchedClassifier(tc) => tc.test_run(options),
        other => panic!("{other:?} is at no hop"),
    }
    .expect("the kernel runs it");
}

/// How many records the programs have written to the ring of the log: its producer's place, which only they move.
fn records(programs: &mut Ebpf) -> usize {
    let Some(map) = programs.map_mut("AYA_LOGS") else { return 0 };
    let mut ring = aya::maps::RingBuf::try_from(map).expect("a ring");
    let mut records = 0;
    while ring.next().is_some() {
        records += 1;
    }
    records
}

#[test]
fn a_log_that_is_off_is_not_in_the_programs_and_one_that_is_on_tells_each_packet() {
    if !ready("a_log_that_is_off_is_not_in_the_programs_and_one_that_is_on_tells_each_packet")
        || !alone("kernel_log::a_log_that_is_off_is_not_in_the_programs_and_one_that_is_on_tells_each_packet")
    {
        return;
    }
    let job = Job::count(&NIC_HOPS);
    let mut silent = load(&job).expect("the kernel takes the programs");
    turn_on();
    let mut loud = load(&job).expect("the kernel takes the programs with their log");
    for hop in NIC_HOPS {
        run(&silent, hop);
        run(&loud, hop);
    }
    assert_eq!((records(&mut silent), records(&mut loud)), (0, NIC_HOPS.len()));
    for (hop, (off, on)) in NIC_HOPS.iter().zip(sizes(&silent).into_iter().zip(sizes(&loud))) {
        // One log line takes at least a call of the ring and the copying of its parts.
        assert!(off + 200 < on, "{}: {off} bytes off, {on} bytes on", hop.name());
    }
}

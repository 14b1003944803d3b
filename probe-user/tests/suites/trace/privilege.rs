//! The programs under the three capabilities that probe asks for, and nothing more.

use std::thread;

use aya::Btf;
use caps::{CapSet, Capability};
use probe_user::{
    ebpf::{
        drops::RING_BYTES,
        hops::{self, drops::FreeTracepoint},
        load::{self, Job, Journey, Switch},
        running::RunningKernel,
    },
    host::offsets::OffsetGroup,
};

use crate::common;

#[test]
fn three_capabilities_are_enough_and_hidden_symbols_blind_only_icmp() {
    if !common::is_root("three_capabilities_are_enough_and_hidden_symbols_blind_only_icmp") {
        return;
    }
    // Capabilities are a thread's own.
    thread::spawn(under_three_capabilities).join().expect("no panic");
}

fn under_three_capabilities() {
    let kept = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];
    caps::set(None, CapSet::Effective, &kept.into_iter().collect()).expect("fewer capabilities");
    let kernel = RunningKernel::read();
    let journey = Journey {
        nonce: 1,
        numbered: None,
        netns: 1,
        offsets: kernel.layout(OffsetGroup::Packet).expect("a layout").offsets,
        drops: kernel.drop_config(),
        crossings: 0,
        everywhere: false,
        opens: 0,
        drop_ring_bytes: RING_BYTES,
    };
    let job = Job { count: Switch::Off, journey: Some(journey), ..Job::count(&super::watched::WATCHED) };
    let mut programs = load::load(&job).expect("programs load");
    let types = Btf::from_sys_fs().expect("BTF");
    for hop in hops::device::HOPS {
        let links = hops::device::attach(&mut programs, &types, &kernel, hop).expect("attaches");
        assert!(!links.is_empty());
    }
    for end in [FreeTracepoint::Dropped, FreeTracepoint::Consumed] {
        let _link = hops::drops::attach(&mut programs, &types, end).expect("attaches");
    }
    if kernel.symbols().is_err() {
        let why = hops::drops::available(&kernel, FreeTracepoint::Consumed).expect_err("no addresses");
        assert!(why.contains("CAP_SYSLOG"), "{why}");
    }
    assert_eq!(hops::drops::available(&kernel, FreeTracepoint::Dropped), Ok(()));
}

//! One interface, several users: two observers, another program's XDP, probe's own filter.

use nix::sys::signal::Signal;
use probe_ebpf::Echo;
use probe_user::{
    ebpf::bpf_sys::{ProgramType, XdpMode, always, link_xdp, load_program},
    host::device::Device,
};

use super::row::{Row, row};
use crate::common::{
    is_root,
    net::{Pair, Wire, from_a, from_b, own_bpffs, own_mounts},
    run::{Running, probe},
};

#[test]
fn observers_of_one_interface_count_the_same() {
    if !is_root("observers_of_one_interface_count_the_same") {
        return;
    }
    let pair = Pair::new();
    let words = ["--xdp generic", "", ""].map(|flags| format!("observe -I va -i 0.1 --format json {flags}"));
    let mut observers = words.map(|words| Running::start(&pair.a, &words));
    assert!(observers[1].stderr().contains("XDP is taken by XDP program (id "), "{}", observers[1].stderr());
    probe(&pair.a, "send request 10.9.0.2 -e 7 -c 10 -i 0.01").done();
    let wanted = Row { left: (10, 0), entered: (0, 10), ..Row::default() };
    for observer in &mut observers {
        observer.until_last("all of them", |document| row(document, 7) == wanted);
    }
    let modes = observers.map(|observer| observer.end_with(Signal::SIGINT).last()["xdp_mode"].clone());
    assert_eq!(modes, ["generic", "off", "off"]);
}

#[test]
fn somebody_elses_xdp_is_left_alone_and_named() {
    if !is_root("somebody_elses_xdp_is_left_alone_and_named") {
        return;
    }
    let pair = Pair::new();
    let foreign = pair.a.run(|| {
        let program = load_program(ProgramType::Xdp, "somebody", &always(2)).expect("a program");
        let device = Device::find("va").expect("va");
        link_xdp(program, device.ifindex, XdpMode::Generic).expect("the place is free")
    });
    for mode in ["native", "generic"] {
        let ran = probe(&pair.a, &format!("observe -I va --once -i 0.1 --xdp {mode}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (2, "", 1), "{ran:?}");
        let told = ["another XDP program is on va: XDP program (id ", "'somebody', generic)", "--xdp off"];
        assert!(told.iter().all(|part| ran.stderr.contains(part)), "{ran:?}");
    }
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 --format json");
    assert!(observer.stderr().contains("'somebody', generic"), "{}", observer.stderr());
    Wire::of(&pair.b, "vb").put(&from_b(Echo::Reply, 7, 1));
    observer.until_last("the packet", |document| row(document, 7).entered == (0, 1));
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!((&document["xdp_mode"], &document["counted_at"]), (&"off".into(), &"tc_in".into()));
    assert_eq!(crate::common::net::programs(&pair.a, "va").len(), 1, "somebody's program is still there");
    drop(foreign);
}

#[test]
fn what_probes_own_filter_drops_has_entered_and_is_told() {
    if !is_root("what_probes_own_filter_drops_has_entered_and_is_told") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let wire = Wire::of(&pair.a, "va");
    probe(&pair.b, "filter add -I vb -e 7").done();
    // Dropped before the watch begins: none of its affair.
    wire.put(&from_a(Echo::Reply, 7, 1));
    let mut observer = Running::start(&pair.b, "observe -I vb -i 0.1 --format json");
    assert!(observer.stderr().contains("'probe_xdp', native"), "{}", observer.stderr());
    for seq in 0..10 {
        wire.put(&from_a(Echo::Reply, 7, seq));
        wire.put(&from_a(Echo::Reply, 8, seq));
    }
    wire.put(&from_a(Echo::Reply, 9, 1));
    observer.until_last("the last", |document| row(document, 9).entered == (0, 1));
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!(row(&document, 7), Row { entered: (0, 10), dropped: 10, ..Row::default() });
    assert_eq!(row(&document, 8), Row { entered: (0, 10), ..Row::default() });
    assert_eq!(document["counted_at"], "tc_in");
    probe(&pair.b, "filter clear").done();
}

#[test]
fn a_filter_of_another_build_does_not_keep_it_from_watching() {
    if !is_root("a_filter_of_another_build_does_not_keep_it_from_watching") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7").done();
    crate::common::net::sh(
        &pair.b,
        "cd /sys/fs/bpf/probe; for f in filter-*; do mv $f filter-999-${f#filter-*-}; done",
    );
    let ran = probe(&pair.b, "observe -I vb --once -i 0.1").done();
    assert!(
        ran.stderr.contains(
            "packets dropped by probe's own filter are not counted: the filter on vb was made by another build"
        ),
        "{ran:?}"
    );
    probe(&pair.b, "filter clear").done();
}

#[test]
fn without_bpffs_it_watches_all_the_same() {
    if !is_root("without_bpffs_it_watches_all_the_same") {
        return;
    }
    own_mounts();
    let pair = Pair::new();
    let document = probe(&pair.b, "observe -I vb --once -i 0.1 --xdp off --format json").done().json();
    assert_eq!(document["xdp_mode"], "off");
}

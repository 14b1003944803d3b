//! What is attached while it watches: only what was asked for, named so that `bpftool` shows whose it is.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use probe_ebpf::Direction;
use probe_user::{
    ebpf::foreign::{Owner, ProgramHook},
    host::device::XdpPlace,
};

use crate::common::{
    is_linux, is_root,
    net::{Pair, programs},
    run::Running,
};

#[test]
fn only_what_was_asked_for_is_attached_and_it_is_probes() {
    if !is_root("only_what_was_asked_for_is_attached_and_it_is_probes") {
        return;
    }
    let pair = Pair::new();
    let clsact = ProgramHook::Clsact;
    let tcx = |direction| if is_linux((6, 6)) { ProgramHook::Tcx(direction) } else { clsact(direction) };
    let (generic, native) = (ProgramHook::Xdp(XdpPlace::Generic), ProgramHook::Xdp(XdpPlace::Native));
    for (flags, wanted) in [
        ("", [tcx(Direction::In), tcx(Direction::Out)]),
        ("--xdp generic", [generic, tcx(Direction::Out)]),
        ("--xdp native", [native, tcx(Direction::Out)]),
        ("--xdp off", [tcx(Direction::In), tcx(Direction::Out)]),
        ("--xdp off --tc clsact", [clsact(Direction::In), clsact(Direction::Out)]),
        ("--xdp generic --tc clsact --counts-only", [generic, clsact(Direction::Out)]),
    ] {
        let observer = Running::start(&pair.a, &format!("observe -I va {flags}"));
        let attached = programs(&pair.a, "va");
        let hooks: BTreeSet<ProgramHook> = attached.iter().map(|program| program.hook).collect();
        assert_eq!(hooks, wanted.into_iter().collect(), "{flags}");
        assert!(attached.iter().all(|program| program.owner() == Owner::Probe), "{flags}: {attached:?}");
        observer.end_with(Signal::SIGINT);
    }
}

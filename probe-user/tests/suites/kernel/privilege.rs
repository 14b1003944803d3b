//! What loading needs of a thread's privileges: three capabilities, no more and no fewer, and not root.

use std::{io, thread};

use caps::{CapSet, Capability, CapsHashSet};
use nix::libc;
use probe_ebpf::Hop;
use probe_user::{
    ebpf::{
        load::{Job, Switch, load},
        nic::{Ingress, Watch, WatchOptions},
        trial::in_new_namespace,
    },
    host::device::Device,
    model::attach::{Attach, TcChoice, XdpChoice},
};

use super::{
    loaded::{ALL_HOPS, Loaded},
    matrix::jobs,
    ready::ready,
    samples::{REQUEST, plain},
};
use crate::common::has_linux;

const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// A user that has nothing.
const NOBODY: u32 = 65_534;

/// Makes this thread a user with those capabilities and no others; the rest of the process stays as it is.
fn become_user_with(capabilities: &[Capability]) {
    // SAFETY: these calls take numbers only. Unlike those of the C library, they concern this thread alone.
    let changed = unsafe {
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY) == 0
            && libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0
    };
    assert!(changed, "{}", io::Error::last_os_error());
    let set: CapsHashSet = capabilities.iter().copied().collect();
    caps::set(None, CapSet::Effective, &CapsHashSet::new()).expect("fewer is always possible");
    caps::set(None, CapSet::Permitted, &set).expect("fewer is always possible");
    caps::set(None, CapSet::Effective, &set).expect("they are permitted");
}

/// Does `work` in a thread that is a user with those capabilities.
fn with<T: Send>(capabilities: &[Capability], work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            become_user_with(capabilities);
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn every_job_loads_counts_and_is_read_with_three_capabilities() {
    if !ready("every_job_loads_counts_and_is_read_with_three_capabilities") {
        return;
    }
    with(&NEEDED, || {
        for job in jobs() {
            load(&job).unwrap_or_else(|error| panic!("{job:?}: {error}"));
        }
        let loaded = Loaded::new(&Job { track: Switch::On, filter: Switch::On, ..Job::count(&ALL_HOPS) });
        loaded.run(Hop::XdpIn, &plain(REQUEST, 7));
        assert_eq!(loaded.packets(Hop::XdpIn, REQUEST, 7), 1);
    });
}

#[test]
fn a_nic_is_watched_with_three_capabilities() {
    let name = "a_nic_is_watched_with_three_capabilities";
    // A clsact filter outlives a killed process, so it is noted below /run/probe, where only root may write.
    if !ready(name) || !has_linux(name, (6, 6), "TCX, without which tc needs root") {
        return;
    }
    in_new_namespace(|| {
        become_user_with(&NEEDED);
        let lo = Device::find("lo").expect("every namespace has it");
        let wish = WatchOptions {
            attach: Attach { xdp: XdpChoice::Generic, tc: TcChoice::Auto },
            ingress: Ingress::Twice,
            egress: Switch::On,
            track: Switch::On,
            ..WatchOptions::default()
        };
        let mut watch = Watch::attach(&lo, &wish).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(watch.snapshot().expect("it can be read").hops.len(), 3);
    })
    .expect("a namespace");
}

#[test]
fn none_of_the_three_can_be_left_out() {
    if !ready("none_of_the_three_can_be_left_out") {
        return;
    }
    for missing in NEEDED {
        let rest: Vec<Capability> = NEEDED.into_iter().filter(|capability| *capability != missing).collect();
        let refused = with(&rest, || load(&Job { track: Switch::On, ..Job::count(&ALL_HOPS) }).is_err());
        assert!(refused, "it loads without {missing}");
    }
}

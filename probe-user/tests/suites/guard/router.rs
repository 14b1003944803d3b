//! A guard on a router's interface, held by a process as the lab holds it.

use std::net::SocketAddr;

use probe_ebpf::{Echo, Family, GuardCount};
use probe_user::{
    ebpf::guard::{Attachment, Guard},
    filter::guard::GuardOptions,
    host::device::Device,
    lab::{
        Topology,
        plan::{LabHost, Nic},
    },
    traffic::{Sender, Settings},
};

use crate::common::{
    is_root,
    net::{answers, eventually, programs, sh},
};
use crate::filter::host::arrived;

fn reply_to_a(lab: &Topology, family: Family, id: u16) {
    let settings = Settings::new(Echo::Reply, SocketAddr::new(Nic::A.address(family), 0));
    let send = || Sender::open(&settings).expect("B may send").send(id, 1, &[0; 56]).expect("it leaves");
    lab.netns(LabHost::B).run(send).expect("B can be entered");
}

#[test]
fn on_a_router_it_guards_what_is_forwarded() {
    if !is_root("on_a_router_it_guards_what_is_forwarded") {
        return;
    }
    let lab = Topology::build().unwrap_or_else(|error| panic!("{error}"));
    let (a, fw) = (lab.netns(LabHost::A), lab.netns(LabHost::Fw));
    // A router without rules of its own.
    sh(fw, "nft delete table inet probe_lab");
    let attach = || Guard::attach(&Device::find("b")?, &GuardOptions::default(), &Attachment::default());
    let guard = fw.run(attach).expect("it can be entered").unwrap_or_else(|error| panic!("{error}"));
    let count = |what| guard.maps.read().expect("they can be read").of(what);
    for (unasked, family) in (1..).zip(lab.families()) {
        let target = Nic::B.address(*family).to_string();
        let passed = count(GuardCount::Passed);
        assert!(answers(a, &target), "{target}");
        assert_eq!(count(GuardCount::Passed), passed + 1, "{target}");
        let before = arrived(a);
        reply_to_a(&lab, *family, 4242);
        eventually("it is dropped", || count(GuardCount::NoState) == unasked);
        assert_eq!(arrived(a), before);
    }
    assert_eq!(guard.maps.dropped(4242), lab.families().len() as u64);
    drop(guard);
    eventually("it is gone", || programs(fw, "b").is_empty());
    let before = arrived(a);
    reply_to_a(&lab, Family::V4, 4242);
    eventually("it passes", || arrived(a) == before + 1);
}

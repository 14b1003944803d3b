//! Both hosts of the lab, watched: what every hop sees of a healthy ping, and of one that is dropped.

use std::{net::SocketAddr, thread, time::Duration};

use probe_ebpf::{Echo, Family, Hop, Mark, contract::journey::MAGIC};
use probe_user::{
    error::Failure,
    lab::{
        Topology,
        plan::{LabHost, Nic},
    },
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{HopTrace, HostTrace},
    },
    traffic::{Sender, Settings},
    watch::path_watch,
};

use crate::common::{is_linux, is_root};

const NONCE: u64 = 0x0102_0304_0506_0708;
const PROBES: u16 = 3;

/// What A and B saw of three probes from A to B.
fn watch(lab: &Topology, family: Family) -> (HostTrace, HostTrace) {
    let far = lab.netns(LabHost::B);
    let near = lab.netns(LabHost::A);
    thread::scope(|scope| {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let peer = scope.spawn(move || {
            far.run(move || -> Result<HostTrace, Failure> {
                let mut watch = path_watch::start(&request(Nic::B, Nic::A, family, HostRole::Receiver))?;
                ready.send(()).expect("the test waits");
                let _ = is_done.recv();
                watch.finish()
            })
        });
        is_ready.recv().expect("the far end watches");
        let local = near.run(|| -> Result<HostTrace, Failure> {
            let mut watch = path_watch::start(&request(Nic::A, Nic::B, family, HostRole::Sender))?;
            send(family)?;
            watch.finish()
        });
        drop(done);
        let told = |sight: Result<Result<HostTrace, Failure>, _>| {
            sight.unwrap_or_else(|error: probe_user::lab::LabError| panic!("{error}")).unwrap_or_else(|e| panic!("{e}"))
        };
        (told(local), told(peer.join().expect("no panic")))
    })
}

fn request(nic: Nic, other: Nic, family: Family, role: HostRole) -> WatchRequest {
    WatchRequest {
        nonce: NONCE,
        id: 0x1234,
        probes: PROBES,
        local: nic.address(family),
        remote: other.address(family),
        interface: Some(nic.interface().to_owned()),
        role,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests: RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

fn send(family: Family) -> Result<(), Failure> {
    let mut sender = Sender::open(&Settings::new(Echo::Request, SocketAddr::new(Nic::B.address(family), 0)))?;
    for probe in 0..PROBES {
        let mark = Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: NONCE.to_be_bytes() };
        let mut payload = bytemuck::bytes_of(&mark).to_vec();
        payload.resize(56, 0);
        sender.send(0x1234, probe + 1, &payload).expect("A may send");
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn show(name: &str, sight: &HostTrace) {
    eprintln!("--- {name}: {:?} {:?}", sight.host, sight.accounting);
    for row in probe_ebpf::contract::hop::HOPS {
        match sight.hop(row.hop) {
            HopTrace::Watched { requests, replies } => {
                eprintln!("  {:22} requests {} replies {}", row.name, requests.len(), replies.len());
            }
            HopTrace::Blind { why } => eprintln!("  {:22} blind: {why}", row.name),
        }
    }
    for drop in &sight.drops {
        eprintln!("  {drop:?}");
    }
    eprintln!("  {:?}", sight.findings);
}

fn counts(sight: &HostTrace, hop: Hop) -> (usize, usize) {
    match sight.hop(hop) {
        HopTrace::Watched { requests, replies } => (requests.len(), replies.len()),
        HopTrace::Blind { why } => panic!("{} is blind: {why}", hop.name()),
    }
}

/// Whether the hop is blind because this kernel is older than netfilter programs, and says so.
fn is_too_new(sight: &HostTrace, hop: Hop) -> bool {
    let says = matches!(sight.hop(hop), HopTrace::Blind { why } if why.contains("came with Linux 6.4"));
    says && !is_linux((6, 4))
}

#[test]
fn a_healthy_ping_is_seen_at_every_hop_of_both_hosts() {
    if !is_root("a_healthy_ping_is_seen_at_every_hop_of_both_hosts") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    for family in [Family::V4, Family::V6] {
        let (a, b) = watch(&lab, family);
        show("a", &a);
        show("b", &b);
        let out = [
            Hop::NfOutputFirst,
            Hop::NfOutputLast,
            Hop::NfPostroutingFirst,
            Hop::NfPostroutingLast,
            Hop::CgroupOut,
            Hop::TcOut,
            Hop::DevQueue,
            Hop::Xmit,
        ];
        let enter = [
            Hop::XdpIn,
            Hop::NetifIn,
            Hop::TcIn,
            Hop::NfPreroutingFirst,
            Hop::NfPreroutingLast,
            Hop::NfInputFirst,
            Hop::NfInputLast,
        ];
        for hop in out.into_iter().filter(|hop| !is_too_new(&a, *hop)) {
            assert_eq!(counts(&a, hop).0, 3, "requests at {} of a, {family:?}", hop.name());
            assert_eq!(counts(&b, hop).1, 3, "replies at {} of b, {family:?}", hop.name());
        }
        for hop in enter.into_iter().filter(|hop| !is_too_new(&b, *hop)) {
            assert_eq!(counts(&b, hop).0, 3, "requests at {} of b, {family:?}", hop.name());
            assert_eq!(counts(&a, hop).1, 3, "replies at {} of a, {family:?}", hop.name());
        }
        assert_eq!(counts(&b, Hop::IcmpIn).0, 3, "requests in the ICMP of b, {family:?}");
        assert!(a.drops.is_empty() && b.drops.is_empty(), "{:?} {:?}", a.drops, b.drops);
    }
}

//! The hops of netfilter and of cgroups on the real kernel: what they see of a healthy ping, and of one that is dropped.

mod watched;

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family, Hop};
use probe_user::lab::{LabHost, Netns, Topology};
use socket2::{Domain, Protocol, Socket, Type};

use watched::{Watched, marked, send};

const OUT: [Hop; 4] = [Hop::NfOutputFirst, Hop::NfOutputLast, Hop::NfPostroutingFirst, Hop::NfPostroutingLast];
const IN: [Hop; 4] = [Hop::NfPreroutingFirst, Hop::NfPreroutingLast, Hop::NfInputFirst, Hop::NfInputLast];
const THROUGH: [Hop; 6] = [
    Hop::NfPostroutingFirst,
    Hop::NfPostroutingLast,
    Hop::NfPreroutingFirst,
    Hop::NfPreroutingLast,
    Hop::NfForwardFirst,
    Hop::NfForwardLast,
];

/// The lab, if this is root.
fn lab(test: &str) -> Option<Topology> {
    crate::common::is_root(test).then(|| Topology::build().expect("the lab"))
}

/// The lab, if this is root and the kernel takes netfilter programs.
fn hooked_lab(test: &str) -> Option<Topology> {
    crate::common::has_linux(test, (6, 4), "netfilter programs").then(|| lab(test)).flatten()
}

/// Gives `rules` to nft in `netns`.
fn nft(netns: &Netns, rules: &str) {
    let mut child = netns.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    child.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "{rules}");
}

/// Waits until `done`, for at most two seconds; says whether it came to that.
fn wait_until(done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn a_healthy_ping_is_seen_first_and_last_at_every_hook_of_every_host() {
    let Some(lab) = hooked_lab("a_healthy_ping_is_seen_first_and_last_at_every_hook_of_every_host") else { return };
    for (probe, family) in (1..).zip(lab.families()) {
        let [a, fw, b] = LabHost::ALL.map(|host| Watched::attach(lab.netns(host), lab.families()));
        for watched in [&a, &fw, &b] {
            assert_eq!(watched.netfilter.blind().len(), 0, "{:?}", watched.netfilter.blind());
            assert_eq!(watched.netfilter.watched().count(), 10);
        }
        // The first may wait for the address of the next hop to be found.
        assert!(send(&lab, LabHost::A, LabHost::B, *family, Echo::Request, probe));
        assert!(wait_until(|| a.step(Hop::NfInputLast, Echo::Reply, probe).times > 0));
        assert_eq!(a.seen_by_netfilter(Echo::Request, probe), OUT, "{family:?}");
        assert_eq!(fw.seen_by_netfilter(Echo::Request, probe), THROUGH, "{family:?}");
        assert_eq!(b.seen_by_netfilter(Echo::Request, probe), IN, "{family:?}");
        assert_eq!(b.seen_by_netfilter(Echo::Reply, probe), OUT, "{family:?}");
        assert_eq!(fw.seen_by_netfilter(Echo::Reply, probe), THROUGH, "{family:?}");
        assert_eq!(a.seen_by_netfilter(Echo::Reply, probe), IN, "{family:?}");
    }
}

/// Where a request can be dropped on its way from A to B, and the hop that it reaches last.
const DROPS: [(LabHost, &str, Hop); 7] = [
    (LabHost::A, "output", Hop::NfOutputFirst),
    (LabHost::A, "postrouting", Hop::NfPostroutingFirst),
    (LabHost::Fw, "prerouting", Hop::NfPreroutingFirst),
    (LabHost::Fw, "forward", Hop::NfForwardFirst),
    (LabHost::Fw, "postrouting", Hop::NfPostroutingFirst),
    (LabHost::B, "prerouting", Hop::NfPreroutingFirst),
    (LabHost::B, "input", Hop::NfInputFirst),
];

#[test]
fn a_drop_shows_as_a_first_without_its_last_at_exactly_that_hook() {
    let Some(lab) = hooked_lab("a_drop_shows_as_a_first_without_its_last_at_exactly_that_hook") else { return };
    let watched = LabHost::ALL.map(|host| (host, Watched::attach(lab.netns(host), lab.families())));
    let cases = lab.families().iter().flat_map(|family| DROPS.map(|drop| (*family, drop)));
    for (probe, (family, (host, hook, stop))) in (1..).zip(cases) {
        let netns = lab.netns(host);
        let rule = "icmp type echo-request drop; icmpv6 type echo-request drop";
        nft(netns, &format!("table inet t {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}"));
        // What dies before it leaves the host is refused to its sender.
        let sent = send(&lab, LabHost::A, LabHost::B, family, Echo::Request, probe);
        assert_eq!(sent, host != LabHost::A, "{family:?} {host:?} {hook}");
        let at = &watched.iter().find(|(at, _)| *at == host).expect("every host is watched").1;
        let reached = wait_until(|| at.step(stop, Echo::Request, probe).times > 0);
        assert!(reached, "{family:?} {host:?} {hook}: {:?}", at.seen(Echo::Request, probe));
        for (at, watched) in &watched {
            let last = match at.cmp(&host) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => Some(stop),
                std::cmp::Ordering::Greater => None,
            };
            let order = |hop: &Hop| watched.step(*hop, Echo::Request, probe).first_ns;
            let seen = watched.seen_by_netfilter(Echo::Request, probe).into_iter().max_by_key(order);
            assert_eq!(seen, last, "{family:?} {hook} of {host:?}: at {at:?}");
        }
        nft(netns, "delete table inet t");
    }
}

#[test]
fn where_a_priority_is_taken_the_next_one_is_used() {
    let Some(lab) = hooked_lab("where_a_priority_is_taken_the_next_one_is_used") else { return };
    let netns = lab.netns(LabHost::B);
    // Base chains at the outermost priorities of one hook; others of probe take the next of all.
    for (chain, priority) in [("first", i64::from(i32::MIN) + 1), ("last", i64::from(i32::MAX) - 1)] {
        nft(netns, &format!("table inet t {{ chain {chain} {{ type filter hook input priority {priority}; }}; }}"));
    }
    let several: Vec<Watched> = (0..3).map(|_| Watched::attach(netns, lab.families())).collect();
    assert!(send(&lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 1));
    for watched in &several {
        assert!(watched.netfilter.blind().is_empty(), "{:?}", watched.netfilter.blind());
        assert!(wait_until(|| watched.step(Hop::NfPostroutingLast, Echo::Reply, 1).times > 0));
        assert_eq!(watched.seen_by_netfilter(Echo::Request, 1), IN);
        assert_eq!(watched.seen_by_netfilter(Echo::Reply, 1), OUT);
    }
}

#[test]
fn a_hook_with_every_priority_taken_is_blind_and_the_others_are_not() {
    let Some(lab) = hooked_lab("a_hook_with_every_priority_taken_is_blind_and_the_others_are_not") else { return };
    let netns = lab.netns(LabHost::B);
    let chains: String = (1..=16)
        .map(|step| format!("chain c{step} {{ type filter hook forward priority {}; }}; ", i64::from(i32::MIN) + step))
        .collect();
    nft(netns, &format!("table inet t {{ {chains} }}"));
    let watched = Watched::attach(netns, lab.families());
    let blind: Vec<_> = watched.netfilter.blind().iter().collect();
    let why = "the 16 outermost priorities of this hook are all taken".to_owned();
    assert_eq!(blind, [(&Hop::NfForwardFirst, &why)]);
}

#[test]
fn dropping_the_links_detaches_them() {
    let Some(lab) = hooked_lab("dropping_the_links_detaches_them") else { return };
    let netns = lab.netns(LabHost::A);
    for _ in 0..20 {
        drop(Watched::attach(netns, lab.families()));
    }
    let watched = Watched::attach(netns, lab.families());
    assert!(watched.netfilter.blind().is_empty(), "twenty rounds would have taken every priority");
}

/// Opens a socket of `kind` in `netns` and sends a marked request to B; the socket stays open.
fn ping(lab: &Topology, kind: Type, family: Family, probe: u16) -> Socket {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let open = || {
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").expect("ping sockets are let");
        let socket = Socket::new(domain, kind, Some(protocol)).expect("a socket");
        let to = SocketAddr::new(LabHost::B.address(family), 0);
        socket.send_to(&marked(family, Echo::Request, probe), &to.into()).expect("sent");
        socket
    };
    lab.netns(LabHost::A).run(open).expect("inside")
}

#[test]
fn cgroup_hops_see_what_leaves_and_what_reaches_a_socket() {
    let Some(lab) = lab("cgroup_hops_see_what_leaves_and_what_reaches_a_socket") else { return };
    let watched = Watched::attach(lab.netns(LabHost::A), lab.families());
    for (hop, link) in &watched.cgroup {
        assert!(link.is_ok(), "{hop:?}: {:?}", link.as_ref().err());
    }
    let cases = lab.families().iter().flat_map(|family| [(*family, Type::RAW), (*family, Type::DGRAM)]);
    for (probe, (family, kind)) in (1..).zip(cases) {
        let _socket = ping(&lab, kind, family, probe);
        let times = |hop, echo| watched.step(hop, echo, probe).times;
        assert!(wait_until(|| times(Hop::SocketIn, Echo::Reply) > 0), "{family:?} {kind:?}");
        assert_eq!(times(Hop::CgroupOut, Echo::Request), 1, "{family:?} {kind:?}");
        assert_eq!(times(Hop::SocketIn, Echo::Reply), 1, "{family:?} {kind:?}");
        // The kernel of B answers by itself: no socket gets the request, but the reply leaves through a cgroup.
        assert_eq!(times(Hop::SocketIn, Echo::Request), 0, "{family:?} {kind:?}");
        assert_eq!(times(Hop::CgroupOut, Echo::Reply), 1, "{family:?} {kind:?}");
    }
}

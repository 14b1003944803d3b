//! Marked probes between the hosts of a lab: what is counted as answered, turned back or refused, and what is not.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family};
use probe_user::{
    clock::monotonic_ns,
    lab::{LabHost, Topology},
    model::trace::SenderTrace,
    stop::StopSignal,
    traffic::{
        ProbePlan, Prober, Settings,
        prober::{RunEnd, id::Scout, walk::walk},
    },
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::is_root;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A lab; nothing, and a loud word, where this is not root.
pub(crate) fn lab(test: &str) -> Option<Topology> {
    is_root(test).then(|| Topology::build().expect("root can build the lab"))
}

/// Runs a shell line on a host; it must succeed.
pub(crate) fn sh(lab: &Topology, host: LabHost, line: &str) {
    let output = lab.netns(host).command("sh").args(["-c", line]).output().expect("sh is there");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The router tells errors as often as it is asked to.
pub(crate) fn unlimited_errors(lab: &Topology) {
    sh(lab, LabHost::Fw, "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
}

pub(crate) fn address(host: LabHost, family: Family) -> IpAddr {
    host.address(family)
}

/// Three probes from A to B, 2 ms apart, and 300 ms for the last answer.
fn plan(family: Family) -> ProbePlan {
    let target = SocketAddr::new(address(LabHost::B, family), 0);
    let [interval, wait] = [2, 300].map(Duration::from_millis);
    ProbePlan { count: 3, interval, wait, ..ProbePlan::new(target, 4242, 0x0123_4567_89ab_cdef) }
}

fn run(lab: &Topology, host: LabHost, plan: ProbePlan) -> (RunEnd, SenderTrace) {
    run_asking(lab, host, plan, |_| false)
}

fn run_asking(
    lab: &Topology,
    host: LabHost,
    plan: ProbePlan,
    witnessed: impl FnMut(&SenderTrace) -> bool + Send,
) -> (RunEnd, SenderTrace) {
    let inside = || {
        let mut prober = Prober::open(plan).expect("root may");
        let ended = prober.run(&StopSignal::default(), witnessed);
        (ended, prober.sending().clone())
    };
    lab.netns(host).run(inside).expect("inside")
}

#[test]
fn ten_of_ten_probes_are_answered_and_the_run_ends_with_the_last_answer() {
    let Some(lab) = lab("ten_of_ten_probes_are_answered_and_the_run_ends_with_the_last_answer") else { return };
    for family in FAMILIES {
        let started = Instant::now();
        let wait = Duration::from_secs(20);
        let (ended, sending) = run(&lab, LabHost::A, ProbePlan { count: 10, wait, ..plan(family) });
        assert_eq!((ended, sending.probes.len(), sending.received.len()), (RunEnd::Known, 10, 10), "{sending:?}");
        assert!(started.elapsed() < wait, "{:?}", started.elapsed());
        for sent in &sending.probes {
            let reply = &sending.received[&sent.probe];
            assert_eq!((reply.from, reply.id, reply.times), (address(LabHost::B, family), 4242, 1), "{reply:?}");
            assert_eq!((reply.ttl, sent.seq, &sent.errno), (63, sent.probe + 1, &None));
            assert!(sent.sent_ns < reply.time_ns && reply.time_ns <= monotonic_ns());
        }
        assert_eq!(sending.errors, []);
    }
}

#[test]
fn large_probes_are_answered_though_only_their_start_is_read() {
    let Some(lab) = lab("large_probes_are_answered_though_only_their_start_is_read") else { return };
    for family in FAMILIES {
        for size in [16, 1472, 9000] {
            let (ended, sending) = run(&lab, LabHost::A, ProbePlan { size, ..plan(family) });
            assert_eq!((ended, sending.received.len()), (RunEnd::Known, 3), "{family:?} {size}");
        }
    }
}

#[test]
fn replies_of_another_run_with_the_same_id_are_not_counted() {
    let Some(lab) = lab("replies_of_another_run_with_the_same_id_are_not_counted") else { return };
    for family in FAMILIES {
        let slow = ProbePlan { count: 5, interval: Duration::from_millis(20), ..plan(family) };
        // The other run's sequence numbers are the same too; only its mark differs.
        let other = ProbePlan { count: 40, nonce: 1, ..plan(family) };
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| run(&lab, LabHost::A, other));
            (run(&lab, LabHost::A, slow), theirs.join().expect("no panic"))
        });
        for (sending, count) in [(ours.1, 5), (theirs.1, 40)] {
            let times: u32 = sending.received.values().map(|reply| reply.times).sum();
            assert_eq!((sending.received.len(), times), (count, count as u32), "{family:?}");
        }
    }
}

#[test]
fn a_router_at_which_the_ttl_runs_out_is_named() {
    let Some(lab) = lab("a_router_at_which_the_ttl_runs_out_is_named") else { return };
    unlimited_errors(&lab);
    for (family, exceeded) in [(Family::V4, (11, 0)), (Family::V6, (3, 0))] {
        let base = plan(family);
        let settings = Settings { ttl: Some(1), ..base.settings.clone() };
        let (ended, sending) = run(&lab, LabHost::A, ProbePlan { settings, ..base });
        let told: BTreeSet<u16> = sending.errors.iter().map(|error| error.probe).collect();
        assert_eq!((ended, told), (RunEnd::Known, BTreeSet::from([0, 1, 2])), "{family:?}");
        for error in &sending.errors {
            assert_eq!((error.icmp_type, error.code), exceeded);
            assert_eq!(error.from, address(LabHost::Fw, family));
        }
    }
}

#[test]
fn a_router_that_prohibits_is_named_with_what_it_says() {
    let Some(lab) = lab("a_router_that_prohibits_is_named_with_what_it_says") else { return };
    unlimited_errors(&lab);
    let (v4, v6) = (address(LabHost::B, Family::V4), address(LabHost::B, Family::V6));
    sh(&lab, LabHost::Fw, &format!("ip route add prohibit {v4}/32 && ip -6 route add prohibit {v6}/128"));
    for (family, prohibited) in [(Family::V4, (3, 13)), (Family::V6, (1, 1))] {
        let (ended, sending) = run(&lab, LabHost::A, plan(family));
        assert_eq!((ended, sending.errors.len()), (RunEnd::Known, 3), "{family:?}: {sending:?}");
        assert!(sending.errors.iter().all(|error| (error.icmp_type, error.code) == prohibited), "{sending:?}");
    }
}

#[test]
fn errors_about_other_packets_are_nobodys() {
    let Some(lab) = lab("errors_about_other_packets_are_nobodys") else { return };
    unlimited_errors(&lab);
    for family in FAMILIES {
        let base = plan(family);
        let settings = Settings { ttl: Some(1), ..base.settings.clone() };
        let other = ProbePlan { settings, nonce: 99, interval: Duration::from_millis(5), count: 20, ..plan(family) };
        let ours = ProbePlan { count: 20, interval: Duration::from_millis(5), ..base };
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| run(&lab, LabHost::A, other));
            (run(&lab, LabHost::A, ours).1, theirs.join().expect("no panic").1)
        });
        assert_eq!((ours.errors.len(), ours.received.len()), (0, 20), "{family:?}");
        assert_eq!((theirs.errors.len(), theirs.received.len()), (20, 0), "{family:?}");
    }
}

#[test]
fn every_refused_send_is_kept_with_its_errno() {
    let Some(lab) = lab("every_refused_send_is_kept_with_its_errno") else { return };
    let errnos = |family| {
        let (ended, sending) = run(&lab, LabHost::A, plan(family));
        assert_eq!(ended, RunEnd::Known);
        sending.probes.into_iter().map(|sent| sent.errno.unwrap_or_default()).collect::<BTreeSet<_>>()
    };
    sh(&lab, LabHost::A, "nft 'add table inet t; add chain inet t c { type filter hook output priority 0; }'");
    sh(&lab, LabHost::A, "nft 'add rule inet t c meta l4proto { icmp, ipv6-icmp } drop'");
    for family in FAMILIES {
        assert_eq!(errnos(family), BTreeSet::from(["EPERM".to_owned()]));
    }
    sh(&lab, LabHost::A, "nft delete table inet t; ip route del default; ip -6 route del default");
    for family in FAMILIES {
        assert_eq!(errnos(family), BTreeSet::from(["ENETUNREACH".to_owned()]));
    }
}

#[test]
fn a_run_ends_when_its_probes_are_witnessed_or_its_time_is_over() {
    let Some(lab) = lab("a_run_ends_when_its_probes_are_witnessed_or_its_time_is_over") else { return };
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let started = Instant::now();
    let patient = || ProbePlan { wait: Duration::from_secs(30), ..plan(Family::V4) };
    let (ended, sending) = run_asking(&lab, LabHost::A, patient(), |sending| sending.probes.len() == 3);
    assert_eq!((ended, sending.received.len()), (RunEnd::Known, 0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    let started = Instant::now();
    let (ended, sending) = run(&lab, LabHost::A, plan(Family::V4));
    assert_eq!((ended, sending.received.len()), (RunEnd::TimedOut, 0));
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());

    let stop = StopSignal::default();
    let inside = || {
        Prober::open(patient()).expect("root may").run(&stop, |_| {
            stop.ask();
            false
        })
    };
    assert_eq!(lab.netns(LabHost::A).run(inside).expect("inside"), RunEnd::Stopped);
}

#[test]
fn replies_that_nobody_asked_for_want_no_reply() {
    if !is_root("replies_that_nobody_asked_for_want_no_reply") {
        return;
    }
    let lab = Topology::build().expect("root can build the lab");
    // On the loopback such a reply comes back to the socket that reads.
    for target in ["127.0.0.1:0", "[::1]:0"] {
        let target = target.parse().expect("an address");
        let base = ProbePlan { settings: Settings::new(Echo::Reply, target), ..plan(Family::V4) };
        let (ended, sending) = run(&lab, LabHost::A, base);
        assert_eq!((ended, sending.probes.len(), sending.received.len()), (RunEnd::TimedOut, 3, 0), "{target}");
        let base = ProbePlan { settings: Settings::new(Echo::Request, target), ..plan(Family::V4) };
        assert_eq!(run(&lab, LabHost::A, base).1.received.len(), 3, "{target}");
    }
}

#[test]
fn a_used_id_is_not_chosen() {
    let Some(lab) = lab("a_used_id_is_not_chosen") else { return };
    sh(&lab, LabHost::A, "sysctl -qw net.ipv4.ping_group_range='0 65534'");
    let inside = || {
        let mut scout = Scout::open(Family::V4).expect("root may");
        let ping = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).expect("a ping socket");
        ping.bind(&"0.0.0.0:1234".parse::<SocketAddr>().expect("an address").into()).expect("a free id");
        assert_eq!(scout.used(), BTreeSet::from([1234]));
        // A ping by raw socket shows only by its replies.
        let mut prober = Prober::open(plan(Family::V4)).expect("root may");
        prober.run(&StopSignal::default(), |_| false);
        assert_eq!(scout.used(), BTreeSet::from([1234, 4242]));
        assert!(![0, 1234, 4242].contains(&scout.choose()));
    };
    lab.netns(LabHost::A).run(inside).expect("inside");
}

#[test]
fn a_walk_names_each_router_and_ends_at_the_target_or_in_silence() {
    let Some(lab) = lab("a_walk_names_each_router_and_ends_at_the_target_or_in_silence") else { return };
    unlimited_errors(&lab);
    let steps = |family| {
        let settings = plan(family).settings;
        let inside = || walk(&settings, 77, 5, &StopSignal::default()).expect("root may");
        lab.netns(LabHost::A).run(inside).expect("inside").into_iter().collect::<Vec<_>>()
    };
    for family in FAMILIES {
        let (fw, b) = (address(LabHost::Fw, family), address(LabHost::B, family));
        assert_eq!(steps(family), [(1, Some(fw)), (2, Some(b))], "{family:?}");
    }
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let silent = steps(Family::V4);
    assert_eq!(silent[0], (1, Some(address(LabHost::Fw, Family::V4))));
    assert!(silent.len() < 30 && silent[1..].iter().all(|(_, from)| from.is_none()), "{silent:?}");
}

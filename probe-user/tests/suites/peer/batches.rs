//! Packets on command between both ends of a lab: what is absorbed at the far NIC is reported, what is sent from either
//! end arrives as it was ordered, and an agent sends to nobody but its controller.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family, Hop};
use probe_user::{
    clock::monotonic_ns,
    error::Failure,
    lab::{LabHost, Topology},
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{Absorbed, HopTrace, HostTrace, ProbePassage},
    },
    peer::{Peer, PeerOptions},
    stop::StopSignal,
    traffic::{
        batch::{EchoFields, MinimumGap, PacketSender, PacketSpec, Quoted, SentPacket, What},
        sender::Fragmentation,
    },
    watch::{Watching, path_watch},
};

use super::{
    commands::Relayed,
    probes::{address, lab, sh},
};

const NONCE: u64 = 0x1122_3344_5566_7788;
const PROBES: u16 = 1024;

/// Both ends, watched: A by this process, B by an agent that absorbs.
struct Ends<'a> {
    near: Box<dyn Watching>,
    sender: PacketSender,
    far: Peer,
    lab: &'a Topology,
    family: Family,
}

fn request(
    local: IpAddr,
    remote: IpAddr,
    role: HostRole,
    requests: RequestHandling,
    further: Vec<IpAddr>,
) -> WatchRequest {
    WatchRequest {
        nonce: NONCE,
        id: 100,
        probes: PROBES,
        local,
        remote,
        interface: None,
        role,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests,
        source_given: false,
        further,
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

/// Starts both and hands them to `work`, in the namespace of A.
fn with_ends(lab: &Topology, family: Family, further: &[IpAddr], work: impl FnOnce(Ends<'_>) + Send) {
    let b = lab.netns(LabHost::B).as_fd().as_raw_fd();
    let probe = env!("CARGO_BIN_EXE_probe");
    let command = format!("nsenter --net=/proc/{}/fd/{b} {probe} agent", std::process::id());
    let (local, remote) = (address(LabHost::A, family), address(LabHost::B, family));
    let inside = || {
        let mut far = Peer::start(PeerOptions::new(command), &StopSignal::default(), Relayed::default().relay())
            .expect("a shell");
        far.greet().expect("a hello");
        let wanted = request(remote, local, HostRole::Receiver, RequestHandling::Absorbed, further.to_vec());
        far.watch(wanted).expect("it watches");
        let own = WatchRequest {
            interface: Some("eth0".into()),
            ..request(local, remote, HostRole::Sender, RequestHandling::Pass, Vec::new())
        };
        let near = path_watch::start(&own).unwrap_or_else(|failure| panic!("{failure}"));
        let sender = PacketSender::open(Some("eth0"), MinimumGap::default()).expect("root may");
        work(Ends { near, sender, far, lab, family });
    };
    lab.netns(LabHost::A).run(inside).expect("inside");
}

fn fields(id: u16) -> EchoFields {
    EchoFields { id, seq: 7, code: 0, size: 56, nonce: NONCE }
}

fn packet(number: u16, what: What, destination: IpAddr) -> PacketSpec {
    let fragmentation = Fragmentation::Allowed;
    PacketSpec { number, after_ms: 0, what, source: None, destination, ttl: None, fragmentation }
}

/// Asks until the answer is as wanted.
fn until<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Ends<'_> {
    fn a(&self) -> IpAddr {
        address(LabHost::A, self.family)
    }

    fn b(&self) -> IpAddr {
        address(LabHost::B, self.family)
    }

    /// So many absorbed requests, once they have come.
    fn absorbed(&mut self, count: usize) -> Vec<Absorbed> {
        let mut all = Vec::new();
        until("absorbed requests", || {
            all.extend(self.far.absorbed().expect("it answers").packets);
            (all.len() >= count).then_some(())
        });
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    /// What became of these packets of the far end, once all were due.
    fn send_from_far(&mut self, packets: Vec<PacketSpec>) -> Vec<SentPacket> {
        let count = packets.len();
        assert_eq!(self.far.send_batch(packets).expect("it takes them on") as usize, count);
        let mut all = Vec::new();
        until("the batch's end", || {
            let fired = self.far.batch_progress().expect("it answers");
            all.extend(fired.packets);
            (fired.waiting == 0).then_some(())
        });
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    fn send_from_near(&mut self, packets: Vec<PacketSpec>) -> Vec<SentPacket> {
        let count = packets.len();
        self.sender.send(packets);
        let mut all = Vec::new();
        until("the batch's end", || {
            let fired = self.sender.progress();
            all.extend(fired.packets);
            (fired.waiting == 0).then_some(())
        });
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    /// What A's NIC saw of one packet, once it did.
    fn arrival(&mut self, echo: Echo, number: u16) -> ProbePassage {
        let near = &mut self.near;
        until("an arrival", || {
            let sight = near.look().unwrap_or_else(|failure: Failure| panic!("{failure}"));
            step(&sight, Hop::XdpIn, echo, number)
        })
    }

    fn far_sight(&mut self) -> HostTrace {
        let asked = self.far.finish().expect("it listens");
        self.far.finished(asked).expect("it answers")
    }
}

fn step(sight: &HostTrace, hop: Hop, echo: Echo, number: u16) -> Option<ProbePassage> {
    match (sight.hop(hop), echo) {
        (HopTrace::Watched { requests, .. }, Echo::Request) => requests.get(&number).copied(),
        (HopTrace::Watched { replies, .. }, Echo::Reply) => replies.get(&number).copied(),
        (HopTrace::Blind { why }, _) => panic!("{} is blind: {why}", hop.name()),
    }
}

fn refusals(fired: &[SentPacket]) -> Vec<Option<&str>> {
    fired.iter().map(|packet| packet.errno.as_deref()).collect()
}

#[test]
fn requests_are_absorbed_and_told_and_a_firewall_is_asked_what_it_remembers() {
    let Some(lab) = lab("requests_are_absorbed_and_told_and_a_firewall_is_asked_what_it_remembers") else { return };
    for family in [Family::V4, Family::V6] {
        with_ends(&lab, family, &[], |mut ends| {
            let (a, b) = (ends.a(), ends.b());
            let odd = EchoFields { code: 1, size: 100, ..fields(200) };
            let foreign = EchoFields { nonce: NONCE ^ 1, ..fields(300) };
            let requests = vec![
                packet(0, What::Request(fields(100)), b),
                PacketSpec { ttl: Some(9), after_ms: 20, ..packet(1, What::Request(odd), b) },
                packet(2, What::Request(foreign), b),
            ];
            let start = monotonic_ns();
            let fired = ends.send_from_near(requests);
            assert_eq!(refusals(&fired), [None; 3]);
            // In the order of their times, and none before its time.
            assert_eq!(fired.iter().map(|packet| packet.number).collect::<Vec<_>>(), [0, 2, 1]);
            assert!(fired[2].sent_ns >= start + 20_000_000, "{fired:?} from {start} on");

            let told = ends.absorbed(2);
            let first = Absorbed { time_ns: 0, ..told[0].clone() };
            let expected = Absorbed {
                probe: 0,
                time_ns: 0,
                source: a,
                destination: b,
                id: 100,
                seq: 7,
                code: 0,
                ttl: 63,
                size: 56,
                fragmented: false,
            };
            assert_eq!(first, expected, "{family:?}");
            assert_eq!((told[1].probe, told[1].id, told[1].code, told[1].ttl, told[1].size), (1, 200, 1, 8, 100));

            // The id that was asked with comes back through the firewall, another does not; in the same second.
            let replies = [(3, 101), (4, 100), (5, 101), (6, 100)];
            let replies = replies.map(|(number, id)| packet(number, What::Reply(fields(id)), a)).to_vec();
            assert_eq!(refusals(&ends.send_from_far(replies)), [None; 4]);
            for number in [4, 6] {
                let arrived = ends.arrival(Echo::Reply, number);
                assert_eq!((arrived.id, arrived.ttl, arrived.source, arrived.destination), (100, 63, None, None));
            }
            let near = ends.near.look().expect("it looks");
            assert!([3, 5].iter().all(|number| step(&near, Hop::XdpIn, Echo::Reply, *number).is_none()));
            let far = ends.far_sight();
            assert!((3..7).all(|number| step(&far, Hop::TcOut, Echo::Reply, number).is_some()), "all left B");
            // Nobody but the batch answered, nothing behind the NIC saw a request, and no drop is told of it.
            assert!((0..2).all(|number| step(&far, Hop::NfOutputFirst, Echo::Reply, number).is_none()));
            assert!((0..2).all(|number| step(&far, Hop::TcIn, Echo::Request, number).is_none()));
            assert_eq!(far.drops, []);
        });
    }
}

#[test]
fn packets_go_both_ways_between_further_addresses_and_errors_quote_what_they_are_told_to() {
    let Some(lab) = lab("packets_go_both_ways_between_further_addresses_and_errors_quote_what_they_are_told_to") else {
        return;
    };
    sh(&lab, LabHost::Fw, "nft flush ruleset");
    sh(&lab, LabHost::A, "ip addr add 10.77.0.11/24 dev eth0");
    sh(&lab, LabHost::B, "ip addr add 10.78.0.21/24 dev eth0");
    // What arrives of ICMP errors is counted by what they quote: the echo id is 24 bytes into the quoted packet.
    sh(&lab, LabHost::A, "nft 'add table ip t; add chain ip t c { type filter hook prerouting priority -500; }'");
    sh(&lab, LabHost::A, "nft 'add rule ip t c icmp type destination-unreachable icmp code 1 @th,256,16 4242 counter'");
    let [second_a, second_b]: [IpAddr; 2] = [[10, 77, 0, 11].into(), [10, 78, 0, 21].into()];
    with_ends(&lab, Family::V4, &[second_a], |mut ends| {
        let (a, b) = (ends.a(), ends.b());
        let quoted = Quoted { source: a, destination: b, echo: Echo::Request, fields: fields(4242) };
        let packets = vec![
            PacketSpec { source: Some(second_b), ..packet(10, What::Reply(fields(1)), a) },
            packet(11, What::Reply(fields(2)), second_a),
            PacketSpec { ttl: Some(5), ..packet(12, What::Request(fields(3)), a) },
            packet(13, What::Unreachable { code: 1, quoted }, a),
        ];
        assert_eq!(refusals(&ends.send_from_far(packets)), [None; 4]);
        let arrived = ends.arrival(Echo::Reply, 10);
        assert_eq!((arrived.id, arrived.source, arrived.destination), (1, Some(second_b), None));
        let arrived = ends.arrival(Echo::Reply, 11);
        assert_eq!((arrived.id, arrived.source, arrived.destination), (2, None, Some(second_a)));
        let arrived = ends.arrival(Echo::Request, 12);
        assert_eq!((arrived.id, arrived.ttl), (3, 4));
        let lab = ends.lab;
        until("the error", || {
            let list = lab.netns(LabHost::A).command("nft").args(["list", "table", "ip", "t"]).output().expect("nft");
            String::from_utf8_lossy(&list.stdout).contains("counter packets 1 ").then_some(())
        });

        let complaint = |packets| ends.far.send_batch(packets).expect_err("refused").to_string();
        let mut complaint: Box<dyn FnMut(Vec<PacketSpec>) -> String> = Box::new(complaint);
        let stranger = packet(14, What::Reply(fields(1)), [10, 77, 0, 1].into());
        assert!(complaint(vec![stranger]).contains("10.77.0.1 is not one of its addresses"));
        let borrowed = PacketSpec { source: Some([10, 78, 0, 99].into()), ..packet(14, What::Reply(fields(1)), a) };
        assert!(complaint(vec![borrowed]).contains("10.78.0.99 is not an address of the far end"));
    });
}

#[test]
fn behind_a_nat_the_outside_is_told_and_may_be_answered() {
    let Some(lab) = lab("behind_a_nat_the_outside_is_told_and_may_be_answered") else { return };
    sh(&lab, LabHost::Fw, "nft flush ruleset");
    sh(&lab, LabHost::Fw, "nft 'add table ip n; add chain ip n c { type nat hook postrouting priority srcnat; }'");
    sh(&lab, LabHost::Fw, "nft 'add rule ip n c oifname b masquerade'");
    with_ends(&lab, Family::V4, &[], |mut ends| {
        let b = ends.b();
        let outside: IpAddr = [10, 78, 0, 1].into();
        let before = ends.far.send_batch(vec![packet(9, What::Reply(fields(1)), outside)]).expect_err("nobody heard");
        assert!(before.to_string().contains("10.78.0.1 is not one of its addresses"), "{before}");
        ends.send_from_near(vec![packet(0, What::Request(fields(100)), b)]);
        let told = ends.absorbed(1).remove(0);
        assert_eq!(told.source, outside);
        ends.send_from_far(vec![packet(1, What::Reply(fields(told.id)), told.source)]);
        let arrived = ends.arrival(Echo::Reply, 1);
        assert_eq!((arrived.id, arrived.source, arrived.destination), (100, None, None), "the NAT undid it");
        let far = ends.far_sight();
        assert_eq!(step(&far, Hop::XdpIn, Echo::Request, 0).map(|step| step.source), Some(Some(outside)));
    });
}

#[test]
fn each_packet_that_the_kernel_refuses_is_told_with_its_errno() {
    let Some(lab) = lab("each_packet_that_the_kernel_refuses_is_told_with_its_errno") else { return };
    sh(&lab, LabHost::A, "nft 'add table inet t; add chain inet t c { type filter hook output priority 0; }'");
    sh(&lab, LabHost::A, "nft 'add rule inet t c icmp type echo-reply drop'");
    sh(&lab, LabHost::A, "ip route del default");
    let b = address(LabHost::B, Family::V4);
    let inside = || {
        let sender = PacketSender::open(None, MinimumGap::default()).expect("root may");
        let large = EchoFields { size: 2000, ..fields(1) };
        let neighbour: IpAddr = address(LabHost::Fw, Family::V4);
        let forbidden = Fragmentation::Forbidden;
        sender.send(vec![
            packet(0, What::Request(fields(1)), b),
            packet(1, What::Reply(fields(1)), neighbour),
            PacketSpec { fragmentation: forbidden, ..packet(2, What::Request(large), neighbour) },
            PacketSpec { source: Some([192, 0, 2, 1].into()), ..packet(3, What::Request(fields(1)), neighbour) },
            PacketSpec { source: Some([0; 16].into()), ..packet(4, What::Request(fields(1)), neighbour) },
            packet(5, What::Request(fields(1)), neighbour),
        ]);
        let mut all = Vec::new();
        until("the batch's end", || {
            let fired = sender.progress();
            all.extend(fired.packets);
            (fired.waiting == 0).then_some(())
        });
        assert_eq!(all.iter().map(|packet| packet.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        // A source of another host's: kernels do not agree on the errno.
        let foreign = all.remove(3);
        assert!(foreign.errno.is_some(), "{foreign:?}");
        let expected = [Some("ENETUNREACH"), Some("EPERM"), Some("EMSGSIZE"), Some("EAFNOSUPPORT"), None];
        assert_eq!(refusals(&all), expected);
    };
    lab.netns(LabHost::A).run(inside).expect("inside");
}

#[test]
fn a_batch_that_is_dropped_in_the_middle_sends_no_more() {
    let Some(lab) = lab("a_batch_that_is_dropped_in_the_middle_sends_no_more") else { return };
    with_ends(&lab, Family::V4, &[], |mut ends| {
        let b = ends.b();
        let later = |number: u16, after_ms| PacketSpec { after_ms, ..packet(number, What::Request(fields(1)), b) };
        ends.sender.send(vec![later(0, 0), later(1, 200)]);
        until("the first", || (ends.sender.progress().packets.len() == 1).then_some(()));
        ends.sender = PacketSender::open(Some("eth0"), MinimumGap::default()).expect("root may");
        ends.sender.send(vec![later(2, 400)]);
        let numbers: BTreeSet<u16> = ends.absorbed(2).iter().map(|absorbed| absorbed.probe).collect();
        assert_eq!(numbers, BTreeSet::from([0, 2]));
    });
}

#[test]
fn what_is_absorbed_is_absorbed_only_as_long_as_the_agent_lives() {
    let Some(lab) = lab("what_is_absorbed_is_absorbed_only_as_long_as_the_agent_lives") else { return };
    with_ends(&lab, Family::V4, &[], |mut ends| {
        let b = ends.b();
        ends.send_from_near(vec![packet(0, What::Request(fields(100)), b)]);
        ends.absorbed(1);
        let Ends { mut near, sender, far, .. } = ends;
        drop(far);
        let mut number = 0;
        // The agent's programs are gone a moment after its process.
        until("an answer of B's kernel", || {
            number += 1;
            sender.send(vec![packet(number, What::Request(fields(100)), b)]);
            thread::sleep(Duration::from_millis(20));
            let sight = near.look().unwrap_or_else(|failure| panic!("{failure}"));
            (1..=number).any(|number| step(&sight, Hop::XdpIn, Echo::Reply, number).is_some()).then_some(())
        });
        let sight = near.look().unwrap_or_else(|failure| panic!("{failure}"));
        assert!(step(&sight, Hop::XdpIn, Echo::Reply, 0).is_none(), "the first was not answered");
    });
}

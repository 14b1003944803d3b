//! What is asked for is what is on the wire.

use std::thread;

use probe_ebpf::Echo;
use probe_user::traffic::{Sender, Settings, packet::counting_payload};

use super::{
    net::{FAR4, FAR6, send, send_text, sh, with_loopback, with_veth},
    wire::Capture,
};

#[test]
fn requests_and_replies_leave_over_loopback_in_both_families() {
    with_loopback("requests_and_replies_leave_over_loopback_in_both_families", || {
        let mut capture = Capture::on("lo");
        for (words, icmp_type) in [
            ("request 127.0.0.1 -e 43", 8),
            ("reply 127.0.0.1 -e 43", 0),
            ("request ::1 -e 0x2b", 128),
            ("reply ::1 -e 0x2b", 129),
        ] {
            let ran = send(words);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let json = ran.json();
            assert_eq!((json["schema"].as_str(), json["sent"].as_u64()), (Some("probe.sent/1"), Some(1)));
            let seen = capture.one(icmp_type, 43);
            assert!(seen.good && seen.code == 0 && seen.seq == 1, "{seen:?}");
            assert_eq!(seen.payload, counting_payload(56));
        }
    });
}

#[test]
fn every_field_is_on_the_wire() {
    with_veth("every_field_is_on_the_wire", || {
        sh("ip addr add 10.9.0.7/24 dev va && ip -6 addr add fd09::7/64 dev va nodad");
        let mut capture = Capture::on("vb");
        let fields = "-e 0xfedc --seq 0xffff -s 3 -t 9 --dscp 46 --code 5 --df";
        for (kind, far, from, icmp_type, df) in
            [("request", FAR4, "10.9.0.7", 8, true), ("reply", FAR6, "fd09::7", 129, false)]
        {
            let ran = send(&format!("{kind} {far} -S {from} {fields}"));
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let seen = capture.one(icmp_type, 0xfedc);
            assert_eq!((seen.source.to_string().as_str(), seen.destination.to_string().as_str()), (from, far));
            assert_eq!((seen.seq, seen.code, seen.ttl, seen.tos, seen.df), (0xffff, 5, 9, 46 << 2, df));
            assert!(seen.good && seen.payload == [0, 1, 2], "{seen:?}");
        }
    });
}

#[test]
fn without_flags_a_packet_may_be_fragmented() {
    with_veth("without_flags_a_packet_may_be_fragmented", || {
        let mut capture = Capture::on("vb");
        assert_eq!(send(&format!("request {FAR4} -e 1")).code, Some(0));
        let seen = capture.one(8, 1);
        assert!(!seen.df && !seen.more_fragments && seen.tos == 0 && seen.ttl == 64, "{seen:?}");
        assert_eq!(send(&format!("request {FAR4} -e 2 -s 2000")).code, Some(0));
        let seen = capture.one(8, 2);
        assert!(seen.more_fragments && seen.payload.len() == 1472, "{seen:?}");
        assert_eq!(send(&format!("request {FAR6} -s 2000")).code, Some(0));
    });
}

#[test]
fn sequence_numbers_count_up_and_wrap_or_stay() {
    with_veth("sequence_numbers_count_up_and_wrap_or_stay", || {
        let mut capture = Capture::on("vb");
        let mut seqs = |words: &str, count: usize| {
            let ran = send(&format!("request {FAR4} -i 0 -e 7 {words}"));
            assert_eq!((ran.code, ran.json()["sent"].as_u64()), (Some(0), Some(count as u64)), "{ran:?}");
            capture.take(count, 8, 7).iter().map(|seen| seen.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs("-c 4 --seq 65534", 4), [65_534, 65_535, 0, 1]);
        assert_eq!(seqs("-c 3 --seq 5 --same-seq", 3), [5, 5, 5]);
        assert_eq!(seqs("-c 200", 200), (1..=200).collect::<Vec<_>>());
    });
}

#[test]
fn broadcast_multicast_and_link_local_targets_are_reached() {
    with_veth("broadcast_multicast_and_link_local_targets_are_reached", || {
        // A link-local address may be a source only when no one else has it.
        sh("until ip -6 addr show dev va scope link -tentative | grep -q fe80; do sleep 0.05; done");
        sh("ip -6 neigh replace fe80::2 lladdr 02:00:00:00:00:02 dev va nud permanent");
        let mut capture = Capture::on("vb");
        for (target, icmp_type) in [
            ("10.9.0.255", 8),
            ("255.255.255.255 -I va", 8),
            ("224.0.0.1 -I va -t 5", 8),
            ("ff02::1%va -t 5", 128),
            ("fe80::2 -I va", 128),
            ("fe80::2%va", 128),
        ] {
            let ran = send(&format!("request {target} -e 99"));
            assert_eq!(ran.code, Some(0), "{target}: {ran:?}");
            let seen = capture.one(icmp_type, 99);
            assert!(seen.good && (seen.ttl == 5) == target.contains("-t 5"), "{target}: {seen:?}");
        }
    });
}

#[test]
fn the_interface_is_used_whatever_the_route_says() {
    with_veth("the_interface_is_used_whatever_the_route_says", || {
        sh("ip link add name vc type veth peer name vd && ip addr add 10.9.2.1/24 dev vc");
        sh("ip link set vc up && ip link set vd up");
        sh(&format!("ip neigh replace {FAR4} lladdr 02:00:00:00:00:02 dev vc nud permanent"));
        let mut capture = Capture::on("vd");
        assert_eq!(send(&format!("request {FAR4} -I vc -e 5")).code, Some(0));
        assert_eq!(capture.one(8, 5).source.to_string(), "10.9.2.1");
    });
}

#[test]
fn a_person_reads_one_line_and_with_v_a_line_a_packet() {
    with_loopback("a_person_reads_one_line_and_with_v_a_line_a_packet", || {
        let ran = send_text("request 127.0.0.1 -e 43 -c 3 -i 0 -v");
        assert_eq!(ran.stdout, "sent 3 echo requests to 127.0.0.1 (id 0x2b = 43, seq 1-3, 56 bytes)\n");
        assert_eq!(ran.stderr.lines().count(), 3, "{ran:?}");
        assert!(ran.stderr.contains("seq 2: sent"), "{ran:?}");
        assert!(send_text("request 127.0.0.1 -c 3 -i 0").stderr.is_empty());
    });
}

#[test]
fn a_flood_fills_no_receive_memory() {
    with_loopback("a_flood_fills_no_receive_memory", || {
        for (target, table) in [("127.0.0.1:0", "raw"), ("[::1]:0", "raw6")] {
            let target = target.parse().expect("an address");
            let mut sender = Sender::open(&Settings::new(Echo::Request, target)).expect("root can");
            let payload = counting_payload(1000);
            for seq in 0..2000 {
                sender.send(9, seq, &payload).expect("loopback takes all");
            }
            let sockets = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).expect("a table");
            let waiting: Vec<_> = sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)).collect();
            assert_eq!(waiting, ["00000000:00000000"], "{sockets}");
        }
    });
}

#[test]
fn a_sender_stays_in_the_namespace_of_the_thread_that_opened_it() {
    with_veth("a_sender_stays_in_the_namespace_of_the_thread_that_opened_it", || {
        let target = format!("{FAR4}:0").parse().expect("an address");
        let mut sender = Sender::open(&Settings::new(Echo::Reply, target)).expect("root can");
        let mut capture = Capture::on("vb");
        let elsewhere = thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root can");
            for id in [1, 0xffff] {
                sender.send(id, 3, b"x").expect("it goes out through va");
            }
        });
        elsewhere.join().expect("no panic");
        assert_eq!((capture.one(0, 1).seq, capture.one(0, 0xffff).seq), (3, 3));
    });
}

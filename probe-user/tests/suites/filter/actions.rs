//! Conditions and actions on a real interface, at each hook: of a thousand packets exactly those that a rule says.

use std::net::{IpAddr, Ipv4Addr};

use nix::libc;
use probe_ebpf::{Echo, Family, Kind};
use probe_user::{
    lab::Netns,
    traffic::{EchoMessage, Frame},
};

use super::host::{arrived, expect_bare, hits, list};
use crate::common::{
    is_root,
    net::{A4, A6, B4, B6, Pair, Wire, eventually, own_bpffs, sh},
    run::probe,
};

/// Where rules are tried: the flags that put them there, the end that sends, and how `list` names the hook.
const HOOKS: [(&str, End, &str); 5] = [
    ("--xdp native", End::A, "xdp"),
    ("--xdp generic", End::A, "xdp"),
    ("--hook tc", End::A, "tcx"),
    ("--direction out", End::B, "tcx"),
    ("--direction out --tc clsact", End::B, "clsact"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    A,
    B,
}

/// The `number`th of a thousand packets: sequence numbers 0 to 9, 0 to 90 bytes, both kinds, both IP versions, and in
/// IPv4 another source for each tenth.
fn packet(sender: End, number: u16) -> Vec<u8> {
    let family = if number % 4 < 2 { Family::V4 } else { Family::V6 };
    let echo = if number.is_multiple_of(2) { Echo::Reply } else { Echo::Request };
    let payload = [7; 90];
    let size = usize::from(number / 10 % 10 * 10);
    let message = EchoMessage::new(Kind { family, echo }, 7, number % 10, &payload[..size]);
    let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    let (to, from) = if sender == End::A { (macs[1], macs[0]) } else { (macs[0], macs[1]) };
    let swap = |a: IpAddr, b: IpAddr| if sender == End::A { (a, b) } else { (b, a) };
    match swap(A4.into(), B4.into()) {
        (_, IpAddr::V4(destination)) if family == Family::V4 => {
            Frame::v4(source(number), destination, &message).macs(to, from).bytes()
        }
        _ => match swap(A6.into(), B6.into()) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Frame::v6(source, destination, &message).macs(to, from).bytes()
            }
            ends => panic!("{ends:?}"),
        },
    }
}

/// Neither end's own address, and one that each of them knows the way back to.
fn source(number: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 100 + u8::try_from(number / 100).expect("below ten"))
}

/// Two hosts that know the way back to every source: what waits for a neighbour holds the memory from which the kernel
/// makes its answers, those of all network namespaces.
fn neighbours() -> Pair {
    let pair = Pair::new();
    for (netns, interface, mac) in [(&pair.a, "va", "02:00:00:00:00:02"), (&pair.b, "vb", "02:00:00:00:00:01")] {
        let line = |number: u16| {
            format!("neigh replace {} lladdr {mac} dev {interface} nud permanent\n", source(number * 100))
        };
        let lines: String = (0..10).map(line).collect();
        sh(netns, &format!("printf '{lines}' | ip -batch -"));
    }
    pair
}

/// Sends a thousand packets past B's rule; gives how many came through, and the rule as it is listed then.
fn thousand(pair: &Pair, sender: End, about: &str) -> (u64, serde_json::Value) {
    let (from, to): ((&Netns, &str), &Netns) =
        if sender == End::A { ((&pair.a, "va"), &pair.b) } else { ((&pair.b, "vb"), &pair.a) };
    let wire = Wire::of(from.0, from.1);
    let (before, already) = (arrived(to), hits(&pair.b));
    for number in 0..1000 {
        // The sender learns of a drop on the way out.
        let sent = wire.try_put(&packet(sender, number));
        let refused = sent.is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS));
        assert!(!refused || sender == End::B, "{about}");
    }
    eventually(&format!("all are dropped or there: {about}"), || {
        arrived(to) - before + hits(&pair.b) - already == 1000
    });
    (arrived(to) - before, list(&pair.b).remove(0))
}

#[test]
fn each_action_drops_exactly_what_it_says_at_each_hook() {
    if !is_root("each_action_drops_exactly_what_it_says_at_each_hook") {
        return;
    }
    own_bpffs();
    let pair = neighbours();
    let cases = [
        ("-e 7 --every 3", 1000, 333),
        ("-e 7 --first 10", 1000, 10),
        ("-e 7 --after 10", 1000, 990),
        ("-e 7 --pass", 1000, 0),
        ("-e 7 --probability 100%", 1000, 1000),
        ("-e 7 --seq 2-3", 200, 200),
        ("-e 7 -s 50-70 --type reply", 150, 150),
        ("-S 10.9.0.104/30 -4", 200, 200),
        ("--destination 10.9.0.0/30 --every 2", 500, 250),
        ("-D fd09::/64 --seq 6", 50, 50),
    ];
    for (place, sender, hook) in HOOKS {
        for (flags, hits, dropped) in cases {
            // Once each is enough for what does not differ by hook.
            let dry_runs = if place == "--hook tc" && !flags.contains("--pass") { 2 } else { 1 };
            for dry_run in ["", " --dry-run"].into_iter().take(dry_runs) {
                let words = format!("filter add -I vb {place} {flags}{dry_run}");
                probe(&pair.b, &words).done();
                let (through, row) = thousand(&pair, sender, &words);
                assert_eq!(row["hook"], hook, "{words}");
                assert_eq!(row["would_drop"], dropped, "a dry run counts what the real one drops: {words}");
                let really = if dry_run.is_empty() { dropped } else { 0 };
                assert_eq!(
                    (&row["hits"], &row["dropped"], through),
                    (&hits.into(), &really.into(), 1000 - really),
                    "{words}"
                );
                probe(&pair.b, "filter clear").done();
            }
        }
        expect_bare(&pair.b, "vb");
    }
}

#[test]
fn a_rate_lets_pass_what_it_allows_and_drops_the_rest() {
    if !is_root("a_rate_lets_pass_what_it_allows_and_drops_the_rest") {
        return;
    }
    own_bpffs();
    let pair = neighbours();
    for (place, sender, _) in HOOKS {
        let since = std::time::Instant::now();
        probe(&pair.b, &format!("filter add -I vb {place} -e 7 --rate 20:15")).done();
        let (through, row) = thousand(&pair, sender, place);
        let allowed = 15.0 + since.elapsed().as_secs_f64() * 20.0 + 1.0;
        assert!(through >= 15 && through as f64 <= allowed, "{place}: {through} came through, {allowed} were allowed");
        assert_eq!((row["hits"].as_u64(), row["dropped"].as_u64()), (Some(1000), Some(1000 - through)), "{place}");
        assert_eq!(row["which"], serde_json::json!({"by": "rate", "value": 20.0, "burst": 15}));
        probe(&pair.b, "filter clear").done();
    }
}

#[test]
fn rules_are_asked_in_the_order_in_which_they_are_listed() {
    if !is_root("rules_are_asked_in_the_order_in_which_they_are_listed") {
        return;
    }
    own_bpffs();
    let pair = neighbours();
    for words in [
        "-e 7",
        "-e 7 --seq 4 --pass --before 1",
        "-e 7 --seq 4-5 --dry-run --before 2",
        "-e 7 --seq 4-6 --every 2 --before 1",
    ] {
        probe(&pair.b, &format!("filter add -I vb {words}")).done();
    }
    let order = |rules: &[serde_json::Value]| -> Vec<(u64, u64)> {
        rules
            .iter()
            .map(|rule| (rule["number"].as_u64().expect("one"), rule["position"].as_u64().expect("one")))
            .collect()
    };
    assert_eq!(order(&list(&pair.b)), [(3, 1), (2, 2), (4, 3), (1, 4)]);
    let (through, _) = thousand(&pair, End::A, "four rules");
    // Of seq 4 all pass, of 5 and 6 each second one.
    assert_eq!(through, 100 + 100);
    let hits: Vec<_> = list(&pair.b).iter().map(|rule| rule["hits"].as_u64()).collect();
    assert_eq!(hits, [200, 100, 200, 700].map(Some));
    let unknown = probe(&pair.b, "filter add -I vb -e 7 --before 9");
    assert!(
        unknown.code == 2 && unknown.stderr.contains("there is no rule 9 on this interface and direction"),
        "{unknown:?}"
    );
    // A number that was given is not given again, also when the last rule and a whole direction are gone.
    probe(&pair.b, "filter add -I vb -e 7 --direction out").done();
    probe(&pair.b, "filter remove 5").done();
    let next = probe(&pair.b, "filter add -I vb -e 9 --format json").done();
    assert_eq!(super::host::rules(&next)[0]["number"], 6);
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
}

#[test]
fn what_rules_counted_outlives_every_other_change() {
    if !is_root("what_rules_counted_outlives_every_other_change") {
        return;
    }
    own_bpffs();
    let pair = neighbours();
    probe(&pair.b, "filter add -I vb -e 7 --first 5").done();
    let (through, _) = thousand(&pair, End::A, "the first");
    assert_eq!(through, 995);
    probe(&pair.b, "filter add -I vb -e 8 -S 10.0.0.0/8").done();
    probe(&pair.b, "filter remove 2").done();
    let (through, row) = thousand(&pair, End::A, "the next");
    assert_eq!((through, row["hits"].as_u64(), row["dropped"].as_u64()), (1000, Some(2000), Some(5)));
}

//! Starts and stops while healthy pings are under way: what was not watched from its start is not reported as lost.

use std::process::{Child, Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_user::lab::Netns;
use serde_json::Value;

use super::row::{Row, numbers};
use crate::common::{
    is_root,
    net::{A4, A6, B4, B6, Pair, eventually, received},
    run::probe,
};

/// Every way in which both directions are attached.
const WAYS: [&str; 5] =
    ["--xdp off", "--xdp off --tc clsact", "--xdp generic", "--xdp native", "--xdp native --tc clsact"];

/// How often each of them begins and ends.
const TIMES: usize = 4;

/// Pings at 100 a second in both directions; killed where the test does not end them.
struct Pings(Vec<Child>);

impl Pings {
    fn new(pair: &Pair) -> Self {
        let ends = [(&pair.a, B4.to_string(), B6.to_string()), (&pair.b, A4.to_string(), A6.to_string())];
        let start = |netns: &Netns, target: &str| {
            let mut ping = netns.command("ping");
            ping.args(["-n", "-q", "-i", "0.01", target]).stdout(Stdio::piped()).spawn().expect("ping is there")
        };
        let mut pings = Vec::new();
        for (netns, v4, v6) in ends {
            pings.extend([&v4, &v4, &v6, &v6].map(|target| start(netns, target)));
        }
        Self(pings)
    }

    /// Ends them; gives how many requests they sent, of which nearly all must have been answered.
    fn end(mut self) -> u64 {
        let mut sent = 0;
        for ping in self.0.drain(..) {
            kill(Pid::from_raw(ping.id().cast_signed()), Signal::SIGINT).expect("it is ours");
            let output = ping.wait_with_output().expect("it ends");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            let summary = text.lines().find(|line| line.contains("packets transmitted")).expect("a summary");
            let mut numbers = summary.split(' ').filter_map(|word| word.parse::<u64>().ok());
            let (transmitted, answered) = (numbers.next().expect("sent"), numbers.next().expect("received"));
            // Attaching native XDP to a veth rebuilds its queue, in which a packet may be lost; one is under way at the end.
            let starts = (WAYS.len() * TIMES) as u64;
            assert!(transmitted - answered <= 1 + starts, "the path is not healthy: {summary}");
            sent += transmitted;
        }
        sent
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        for ping in &mut self.0 {
            // Gone already is as good.
            let _ = ping.kill();
            let _ = ping.wait();
        }
    }
}

fn rows(document: &Value) -> Vec<Row> {
    document["ids"].as_array().expect("an array").iter().map(numbers).collect()
}

#[test]
fn healthy_pings_under_way_are_never_told_as_lost() {
    if !is_root("healthy_pings_under_way_are_never_told_as_lost") {
        return;
    }
    let pair = Pair::new();
    let pings = Pings::new(&pair);
    eventually("pings are under way", || received(&pair.a, "va") > 100);
    for way in WAYS {
        for time in 0..TIMES {
            // The start is long over once the timeout is: what was not seen whole would be reported.
            let words = format!("observe -I va -i 0.1 -W 0.2 --duration 0.6 --format json {way}");
            let document = probe(&pair.a, &words).done().last();
            let rows = rows(&document);
            assert_eq!(rows.len(), 8, "{way}: {document}");
            for row in rows {
                assert_eq!(row.lost, 0, "{way}, start {time}: {document}");
                let ends = [(row.left.0, row.entered.1), (row.entered.0, row.left.1)];
                assert!(ends.iter().any(|(requests, _)| *requests > 20), "{way}: {document}");
                for (requests, replies) in ends {
                    // One may be under way as it begins, and one as it ends.
                    assert!(requests.abs_diff(replies) <= 2, "{way}, start {time}: {document}");
                }
            }
        }
    }
    assert!(pings.end() > 0);
}

#[test]
fn what_is_told_as_lost_was_counted_as_sent() {
    if !is_root("what_is_told_as_lost_was_counted_as_sent") {
        return;
    }
    let pair = Pair::new();
    pair.nobody_at("10.9.0.77");
    // Requests without an answer before, while and after it begins: those that left later are lost, and no others.
    let mut asker = pair.a.command("ping");
    asker.args(["-n", "-q", "-i", "0.002", "10.9.0.77"]).stdout(Stdio::null());
    let mut asker = asker.spawn().expect("ping is there");
    eventually("requests are under way", || received(&pair.b, "vb") > 10);
    let documents = ["--xdp off", "--xdp native"].map(|way| {
        let words = format!("observe -I va -i 0.1 -W 0.2 --duration 0.6 --format json {way}");
        probe(&pair.a, &words).done().last()
    });
    asker.kill().expect("it is ours");
    asker.wait().expect("it ends");
    for document in documents {
        let rows = rows(&document);
        let [row] = rows[..] else { panic!("{document}") };
        assert!(row.lost > 10 && row.lost <= row.left.0, "lost is what was counted: {document}");
    }
}

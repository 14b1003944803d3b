//! Eleven shapes of a healthy run: bursts, IPv4 and IPv6, sizes, fragments, DF, and all kinds of neighbours. Two bursts of 512
//! and nine runs of 1024 probes are 10,240 echoes; `ping_socket` adds 1,024.

use super::{
    diagnosed::{acquitted, diagnosed},
    noise::{Noise, allow_ping_sockets, drop_requests},
};
use crate::common::{
    self,
    net::{B4, B6, Pair},
};

/// What a program may send in a moment, without the queues between processors running over: that would be a loss.
const BURST: u64 = 512;

/// As many as a run can have, paced so that a starved machine keeps up.
const MANY: u64 = 1024;

/// A burst, as fast as it goes.
fn burst(pair: &Pair, words: &str) {
    let ran = diagnosed(pair, &format!("{words} -c {BURST} -i 0 -W 10 --format json"));
    acquitted(&format!("burst {words}"), &ran, BURST);
}

/// Many probes, while `noise` goes on.
fn many(pair: &Pair, words: &str, noise: Noise) {
    let ran = diagnosed(pair, &format!("{words} -c {MANY} -i 0.0003 -W 10 --format json"));
    acquitted(&format!("many {words}"), &ran, MANY);
    drop(noise);
}

#[test]
fn bursts_are_delivered() {
    if !common::is_root("bursts_are_delivered") {
        return;
    }
    let pair = Pair::new();
    burst(&pair, &B4.to_string());
    burst(&pair, &B6.to_string());
}

#[test]
fn fragments_and_whole_packets_are_delivered() {
    if !common::is_root("fragments_and_whole_packets_are_delivered") {
        return;
    }
    let pair = Pair::new();
    many(&pair, &format!("{B4} -s 4000"), Noise::Nothing);
    many(&pair, &format!("{B6} -s 4000"), Noise::Nothing);
    many(&pair, &format!("{B4} -s 1472 --df"), Noise::Nothing);
    many(&pair, &format!("{B6} -s 16"), Noise::Nothing);
}

#[test]
fn a_busy_host_with_drops_of_its_own_is_not_accused() {
    if !common::is_root("a_busy_host_with_drops_of_its_own_is_not_accused") {
        return;
    }
    let pair = Pair::new();
    allow_ping_sockets(&pair.a);
    drop_requests(&pair.b, "meta length > 500");
    let others = vec![
        Noise::flood(&pair),
        // Dropped for its length, and answered; from raw sockets and from a ping socket.
        Noise::pinging(&pair.a, "-e 0x2bad -s 600"),
        Noise::system_ping(&pair.a, &B4.to_string()),
    ];
    many(&pair, &B4.to_string(), Noise::Many(others));
    many(&pair, &B6.to_string(), Noise::flood(&pair));
}

#[test]
fn another_ping_with_the_same_id_is_another_ping() {
    if !common::is_root("another_ping_with_the_same_id_is_another_ping") {
        return;
    }
    let pair = Pair::new();
    drop_requests(&pair.b, "meta length > 500");
    let others = vec![Noise::pinging(&pair.a, "-e 0x1d1d -s 600"), Noise::pinging(&pair.a, "-e 0x1d1d")];
    many(&pair, &format!("{B4} -e 0x1d1d"), Noise::Many(others));
}

#[test]
fn a_second_pair_of_hosts_with_the_same_addresses_drops_its_own() {
    if !common::is_root("a_second_pair_of_hosts_with_the_same_addresses_drops_its_own") {
        return;
    }
    let pair = Pair::new();
    many(&pair, &B4.to_string(), Noise::other_pair());
    many(&pair, &format!("{B4} -e 0x2bad -s 3000"), Noise::other_pair());
}

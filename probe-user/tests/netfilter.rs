//! The hops of netfilter and of cgroups on the real kernel: what they see of a healthy ping, and of one that is dropped.

mod common;
#[path = "netfilter/watched.rs"]
mod watched;

use std::process::Stdio;

use probe_ebpf::{Echo, Family, Hop};
use probe_user::lab::{Host, Netns, Topology};

use watched::{Watched, send};

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
    common::is_root(test).then(|| Topology::build().expect("the lab"))
}

/// Runs a command in `netns`.
fn run(netns: &Netns, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = netns.command(words[0]).args(&words[1..]).stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_healthy_ping_is_seen_first_and_last_at_every_hook_of_every_host() {
    let Some(lab) = lab("a_healthy_ping_is_seen_first_and_last_at_every_hook_of_every_host") else { return };
    for (probe, family) in (1..).zip(lab.families()) {
        let [a, fw, b] = Host::ALL.map(|host| Watched::attach(lab.netns(host), lab.families()));
        for watched in [&a, &fw, &b] {
            assert_eq!(watched.netfilter.blind().len(), 0, "{:?}", watched.netfilter.blind());
            assert_eq!(watched.netfilter.watched().count(), 10);
        }
        // The first may wait for the address of the next hop to be found.
        assert!(send(&lab, Host::A, Host::B, *family, Echo::Request, probe));
        let done = || a.step(Hop::NfInputLast, Echo::Reply, probe).times > 0;
        for _ in 0..200 {
            if done() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(a.seen_by_netfilter(Echo::Request, probe), OUT, "{family:?}");
        assert_eq!(fw.seen_by_netfilter(Echo::Request, probe), THROUGH, "{family:?}");
        assert_eq!(b.seen_by_netfilter(Echo::Request, probe), IN, "{family:?}");
        assert_eq!(b.seen_by_netfilter(Echo::Reply, probe), OUT, "{family:?}");
        assert_eq!(fw.seen_by_netfilter(Echo::Reply, probe), THROUGH, "{family:?}");
        assert_eq!(a.seen_by_netfilter(Echo::Reply, probe), IN, "{family:?}");
    }
}

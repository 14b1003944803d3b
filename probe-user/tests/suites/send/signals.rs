//! Ctrl-C and SIGTERM at any moment: what was sent so far, and exit 130.

use std::{fs, process::Command, time::Duration};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};

use super::{
    net::{FAR4, Ran, Running, sh, start, with_loopback, with_veth},
    wire::Capture,
};
use crate::common::net::eventually;

const MS: Duration = Duration::from_millis(1);

/// Ends it once it is under way; it must obey soon.
fn interrupted(running: Running, under_way: impl FnMut() -> bool, signal: Signal) -> Ran {
    eventually("it is under way", under_way);
    let since = std::time::Instant::now();
    let ran = running.end_with(signal);
    assert!(since.elapsed() < 1000 * MS, "it took {:?}", since.elapsed());
    assert_eq!((ran.code, ran.json()["interrupted"].as_bool()), (Some(130), Some(true)), "{ran:?}");
    ran
}

/// How many packets wait in the queue of an interface.
fn waiting_at(interface: &str) -> u32 {
    let output = Command::new("tc").args(["-s", "qdisc", "show", "dev", interface]).output().expect("tc is there");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let backlog =
        text.lines().find_map(|line| line.trim().strip_prefix("backlog ")?.split(' ').nth(1)?.strip_suffix('p'));
    backlog.and_then(|packets| packets.parse().ok()).unwrap_or_default()
}

/// Whether a socket in this thread's namespace is connected to port 53.
fn asks_a_name_server() -> bool {
    let text = fs::read_to_string("/proc/thread-self/net/udp").expect("it is there");
    text.lines().any(|line| line.split_whitespace().nth(2).is_some_and(|remote| remote.ends_with(":0035")))
}

#[test]
fn a_signal_ends_it_with_what_was_sent_so_far() {
    with_loopback("a_signal_ends_it_with_what_was_sent_so_far", || {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut capture = Capture::on("lo");
            let running = start("request 127.0.0.1 -c 1000 -i 0.05 -e 41");
            // A packet socket sees what is on lo twice.
            let json = interrupted(running, || capture.take(4, 8, 41).len() == 4, signal).json();
            let sent = json["sent"].as_u64().expect("a number");
            assert!((2..20).contains(&sent) && json["asked"] == 1000, "{json}");
            assert_eq!(json["seq"]["last"].as_u64(), Some(sent));
        }
    });
}

#[test]
fn a_signal_ends_a_flood_and_a_long_wait() {
    with_loopback("a_signal_ends_a_flood_and_a_long_wait", || {
        let mut capture = Capture::on("lo");
        let flood = start("request 127.0.0.1 -c 4000000000 -i 0 -e 41");
        interrupted(flood, || capture.take(1, 8, 41).len() == 1, Signal::SIGINT);
        let mut capture = Capture::on("lo");
        let waiting = start("request 127.0.0.1 -c 2 -i 3600 -e 42");
        let json = interrupted(waiting, || capture.take(1, 8, 42).len() == 1, Signal::SIGINT).json();
        assert_eq!(json["sent"], 1);
    });
}

#[test]
fn a_signal_ends_it_while_the_device_takes_nothing() {
    with_veth("a_signal_ends_it_while_the_device_takes_nothing", || {
        sh("tc qdisc add dev va root tbf rate 8kbit burst 2000 limit 10000000");
        let running = start(&format!("request {FAR4} -c 1000 -s 1400 -i 0"));
        let json = interrupted(running, || waiting_at("va") >= 10, Signal::SIGINT).json();
        let sent = json["sent"].as_u64().expect("a number");
        assert!((10..1000).contains(&sent) && json["failed"] == serde_json::json!([]), "{json}");
    });
}

#[test]
fn a_signal_ends_it_while_the_name_server_is_silent() {
    with_veth("a_signal_ends_it_while_the_name_server_is_silent", || {
        let file = std::env::temp_dir().join(format!("probe-test-resolv-{}", std::process::id()));
        fs::write(&file, format!("nameserver {FAR4}\n")).expect("a temporary file");
        unshare(CloneFlags::CLONE_NEWNS).expect("root can");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts of our own");
        let mounted = mount(Some(&file), "/etc/resolv.conf", none, MsFlags::MS_BIND, none);
        fs::remove_file(&file).expect("it is ours");
        mounted.expect("a file over a file");
        let json = interrupted(start("request slow.example -e 43"), asks_a_name_server, Signal::SIGINT).json();
        assert_eq!((json["sent"].as_u64(), json["id"].as_u64()), (Some(0), Some(43)), "{json}");
        assert!(json["target"]["address"].is_null() && json["seq"].is_null(), "{json}");
    });
}

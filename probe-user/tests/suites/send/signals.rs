//! Ctrl-C and SIGTERM at any moment: what was sent so far, and exit 130.

use std::{fs, thread, time::Duration};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};

use super::net::{FAR4, Ran, Running, sh, start, with_loopback, with_veth};

const MS: Duration = Duration::from_millis(1);

/// Ends it after a while; it must obey soon.
fn interrupted(running: Running, after: Duration, signal: Signal) -> Ran {
    thread::sleep(after);
    let since = std::time::Instant::now();
    let ran = running.end_with(signal);
    assert!(since.elapsed() < 1000 * MS, "it took {:?}", since.elapsed());
    assert_eq!((ran.code, ran.json()["interrupted"].as_bool()), (Some(130), Some(true)), "{ran:?}");
    ran
}

#[test]
fn a_signal_ends_it_with_what_was_sent_so_far() {
    with_loopback("a_signal_ends_it_with_what_was_sent_so_far", || {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let json = interrupted(start("request 127.0.0.1 -c 1000 -i 0.05"), 400 * MS, signal).json();
            let sent = json["sent"].as_u64().expect("a number");
            assert!((2..20).contains(&sent) && json["asked"] == 1000, "{json}");
            assert_eq!(json["seq"]["last"].as_u64(), Some(sent));
        }
    });
}

#[test]
fn a_signal_ends_a_flood_and_a_long_wait() {
    with_loopback("a_signal_ends_a_flood_and_a_long_wait", || {
        interrupted(start("request 127.0.0.1 -c 4000000000 -i 0"), 300 * MS, Signal::SIGINT);
        let json = interrupted(start("request 127.0.0.1 -c 2 -i 3600"), 300 * MS, Signal::SIGINT).json();
        assert_eq!(json["sent"], 1);
    });
}

#[test]
fn a_signal_ends_it_while_the_device_takes_nothing() {
    with_veth("a_signal_ends_it_while_the_device_takes_nothing", || {
        sh("tc qdisc add dev va root tbf rate 8kbit burst 2000 limit 10000000");
        let json = interrupted(start(&format!("request {FAR4} -c 1000 -s 1400 -i 0")), 500 * MS, Signal::SIGINT).json();
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
        let json = interrupted(start("request slow.example -e 43"), 400 * MS, Signal::SIGINT).json();
        assert_eq!((json["sent"].as_u64(), json["id"].as_u64()), (Some(0), Some(43)), "{json}");
        assert!(json["target"]["address"].is_null() && json["seq"].is_null(), "{json}");
    });
}

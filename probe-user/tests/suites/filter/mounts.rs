//! bpffs where it is mounted, where it is not, and where it cannot be seen.

use std::process::{Child, Command};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use probe_user::lab::Netns;

use super::host::{list, numbers};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, own_mounts, sh},
    run::{Ran, command, probe},
};

/// Mounts of this thread's own, without a bpffs.
fn without_bpffs() {
    own_mounts();
    while is_mounted() {
        umount2("/sys/fs/bpf", MntFlags::MNT_DETACH).expect("it is mounted");
    }
}

fn is_mounted() -> bool {
    statfs("/sys/fs/bpf").is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// A process of this thread's mounts in the machine's network namespace, as a host has many.
struct Neighbour(Child);

impl Neighbour {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep is there"))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // It is ours, and runs until here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn expect_refused(ran: &Ran, told: &str) {
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains(told) && ran.stderr.contains("nsenter --net=/run/netns/NAME probe"), "{ran:?}");
}

#[test]
fn bpffs_is_mounted_where_it_is_not_and_that_is_said() {
    if !is_root("bpffs_is_mounted_where_it_is_not_and_that_is_said") {
        return;
    }
    without_bpffs();
    let _neighbour = Neighbour::new();
    let pair = Pair::new();
    assert_eq!(list(&pair.b), [""; 0]);
    let off = probe(&pair.b, "filter add -I vb -e 7 --xdp off");
    assert!(off.code == 2 && !is_mounted(), "what is refused mounts nothing: {off:?}");
    let ran = probe(&pair.b, "filter add -I vb -e 7").done();
    assert!(ran.stderr.contains("mounted bpffs on /sys/fs/bpf"), "{ran:?}");
    assert!(is_mounted());
    assert!(!probe(&pair.b, "filter add -I vb -e 8").done().stderr.contains("mounted"));
    assert_eq!(numbers(&list(&pair.b)), [1, 2]);
    probe(&pair.b, "filter clear").done();
}

#[test]
fn mounts_of_a_command_alone_are_no_place_for_rules() {
    if !is_root("mounts_of_a_command_alone_are_no_place_for_rules") {
        return;
    }
    without_bpffs();
    let pair = Pair::new();
    expect_refused(&probe(&pair.b, "filter add -I vb -e 7"), "would vanish with this command");
    for words in ["filter list", "filter remove 1", "filter clear", "filter clear -I vb"] {
        expect_refused(&probe(&pair.b, words), "cannot be seen from here");
    }
    assert!(!is_mounted() && crate::common::net::programs(&pair.b, "vb").is_empty());
}

#[test]
fn ip_netns_exec_is_told_how_to_do_it() {
    if !is_root("ip_netns_exec_is_told_how_to_do_it") {
        return;
    }
    own_bpffs();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a /run of our own");
    let host = Netns::new().expect("root can");
    sh(&host, "ip netns add inside; ip -n inside link set lo up");
    for (words, told) in
        [("filter add -I lo -e 7", "would vanish with this command"), ("filter list", "cannot be seen")]
    {
        let mut ip = host.command("ip");
        ip.args(["netns", "exec", "inside", env!("CARGO_BIN_EXE_probe")]).args(words.split(' '));
        expect_refused(&Ran::of(ip.output().expect("ip is there")), told);
    }
    // As the message says.
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--net=/run/netns/inside", env!("CARGO_BIN_EXE_probe"), "filter", "add", "-I", "lo", "-e", "7"]);
    Ran::of(nsenter.output().expect("nsenter is there")).done();
    let inside = Netns::open("/run/netns/inside".as_ref()).expect("it opens").expect("it is there");
    assert_eq!(numbers(&list(&inside)), [1]);
    Ran::of(command(&inside, "filter clear").output().expect("it starts")).done();
    sh(&host, "ip netns del inside");
}

//! `probe doctor` as it is run: as root, as nobody, and beside other people's programs.

use std::{
    fs,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use probe_ebpf::contract::{hop::HOPS, kind::Direction};
use probe_user::{
    ebpf::{
        bpf_sys::{self, ProgramType, XdpMode},
        foreign,
        trial::in_new_namespace,
    },
    host::device::{self, Device, DeviceType, XdpPlace, xdp_mode::VETH_NATIVE_MTU},
};
use serde_json::Value;

use crate::common::{copy::Copy, has_linux, is_root, skip};

const NOBODY: u32 = 65534;

fn doctor(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probe")).arg("doctor").args(words).output().expect("probe runs")
}

fn document(output: &Output) -> Value {
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "one line of JSON");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn find<'a>(document: &'a Value, list: &str, key: &str, name: &str) -> &'a Value {
    let found = document[list].as_array().expect("a list").iter().find(|item| item[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    find(document, "checks", "name", name)
}

fn hop<'a>(document: &'a Value, name: &str) -> &'a Value {
    find(document, "hops", "hop", name)
}

/// The exit status that a report asks for.
fn expected_status(document: &Value) -> i32 {
    i32::from(document["broken"] != 0 || document["blind"] != 0)
}

/// Runs a command of the test's own set-up, which must work.
fn run(words: &str) {
    run_words(&words.split(' ').collect::<Vec<_>>());
}

fn run_words(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status().expect("it runs");
    assert!(status.success(), "{words:?}: {status}");
}

/// Does `work` in a network namespace of its own that has a veth, `v0` to `v1`, both up.
fn with_veth(work: impl FnOnce() + Send) {
    let made = in_new_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link set v0 up");
        run("ip link set v1 up");
        work();
    });
    made.expect("a network namespace");
}

/// A foreign XDP program that passes everything.
fn xdp_program(name: &str) -> OwnedFd {
    bpf_sys::load_program(ProgramType::Xdp, name, &bpf_sys::always(2)).expect("loaded")
}

fn id(program: &OwnedFd) -> u32 {
    bpf_sys::program_info(program).expect("its info").id
}

fn index(name: &str) -> u32 {
    Device::find(name).expect("the interface").ifindex
}

#[test]
fn json_is_one_document_and_agrees_with_the_exit_status() {
    let output = doctor(&["--format", "json"]);
    let document = document(&output);
    assert_eq!(document["schema"], "probe.doctor/1");
    assert_eq!(output.status.code(), Some(expected_status(&document)), "{document:#}");
    for check in document["checks"].as_array().expect("checks") {
        for key in ["name", "detail", "fix"] {
            assert!(check[key].is_string(), "{check}");
        }
        assert!(check["ok"].is_boolean() && check["detail"] != "", "{check}");
        assert!(check["ok"] == true || check["fix"] != "", "no fix: {check}");
    }
    let names: Vec<&str> =
        document["hops"].as_array().expect("hops").iter().filter_map(|hop| hop["hop"].as_str()).collect();
    assert_eq!(names, HOPS.map(|row| row.name));
    assert!(document["hops"].as_array().expect("hops").iter().all(|hop| hop["why"] != ""));
}

#[test]
fn an_interface_that_is_not_there_is_bad_input() {
    let output = doctor(&["-I", "nosuch0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no interface 'nosuch0'") && said.contains("lo"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let output = doctor(&["-I", "nosuch0", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(document(&output)["schema"], "probe.error/1");
}

#[test]
fn root_can_use_every_hop_in_a_namespace_of_its_own() {
    if !is_root("root_can_use_every_hop_in_a_namespace_of_its_own") {
        return;
    }
    with_veth(|| {
        let report = document(&doctor(&["-I", "v0", "--format", "json"]));
        for row in HOPS {
            assert_eq!(hop(&report, row.name)["available"], true, "{report:#}");
        }
        for name in ["maps", "programs", "send", "v0"] {
            assert_eq!(check(&report, name)["state"], "good", "{report:#}");
        }
        let detail = check(&report, "v0")["detail"].as_str().expect("text").to_owned();
        assert!(detail.contains("XDP off to observe") && detail.contains("native to drop"), "{detail}");
        // Only what was asked for.
        assert!(report["checks"].as_array().expect("checks").iter().all(|check| check["name"] != "v1"));
    });
}

#[test]
fn nobody_is_told_what_is_missing_and_the_fix() {
    if !is_root("nobody_is_told_what_is_missing_and_the_fix") {
        return;
    }
    let program = Copy::new();
    let run = |words: &[&str]| {
        let mut command = Command::new(program.binary());
        command.arg("doctor").args(words).uid(NOBODY).gid(NOBODY).current_dir("/").output().expect("probe runs")
    };
    let output = run(&["--format", "json"]);
    let document = document(&output);
    assert_eq!(output.status.code(), Some(1), "{document:#}");
    assert_eq!(check(&document, "programs")["state"], "broken");
    let fix = check(&document, "programs")["fix"].as_str().expect("a fix").to_owned();
    assert!(fix.contains("cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep"), "{fix}");
    assert!(fix.contains(program.binary().to_str().expect("a path")), "{fix}");
    for row in HOPS {
        assert_eq!(hop(&document, row.name)["available"], false);
        assert!(hop(&document, row.name)["why"].as_str().is_some_and(|why| why.starts_with("not privileged: CAP_BPF")));
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = String::from_utf8_lossy(&run(&[]).stdout).into_owned();
    assert!(text.contains("19 of 19 hops are blind"), "{text}");
}

#[test]
fn somebody_elses_xdp_program_is_named_with_its_owner_and_a_way_around() {
    if !is_root("somebody_elses_xdp_program_is_named_with_its_owner_and_a_way_around") {
        return;
    }
    with_veth(|| {
        let program = xdp_program("xdp_other");
        let modes = [(XdpMode::Generic, XdpPlace::Generic), (XdpMode::Native, XdpPlace::Native)];
        for (mode, place) in modes {
            let link = bpf_sys::link_xdp(&program, index("v0"), mode).expect("attached");
            let device = Device::find("v0").expect("v0");
            assert_eq!(device.xdp, [device::XdpProgram { place, id: id(&program) }]);
            let output = doctor(&["-I", "v0", "--format", "json"]);
            let report = document(&output);
            assert_eq!(output.status.code(), Some(1), "{report:#}");
            let told =
                format!("another XDP program (id {}, 'xdp_other', {}) is attached to v0", id(&program), place.name());
            assert_eq!(hop(&report, "xdp_in")["available"], false);
            assert_eq!(hop(&report, "xdp_in")["why"], told.as_str());
            assert_eq!(hop(&report, "tc_in")["available"], true);
            let check = check(&report, "v0 xdp");
            assert_eq!(check["state"], "broken");
            assert!(check["detail"].as_str().is_some_and(|detail| detail.starts_with(&told)), "{check}");
            assert!(check["fix"].as_str().is_some_and(|fix| fix.contains("--xdp off")), "{check}");
            drop(link);
        }
        assert_eq!(Device::find("v0").expect("v0").xdp, []);
        assert_eq!(hop(&document(&doctor(&["-I", "v0", "--format", "json"])), "xdp_in")["available"], true);
    });
}

#[test]
fn probes_own_xdp_program_is_no_stranger() {
    if !is_root("probes_own_xdp_program_is_no_stranger") {
        return;
    }
    with_veth(|| {
        let program = xdp_program("probe_xdp");
        let _link = bpf_sys::link_xdp(&program, index("v0"), XdpMode::Native).expect("attached");
        let report = document(&doctor(&["-I", "v0", "--format", "json"]));
        assert_eq!(check(&report, "v0 xdp")["state"], "good", "{report:#}");
        assert_eq!(hop(&report, "xdp_in")["available"], true);
    });
}

#[test]
fn programs_and_filters_of_tc_are_listed() {
    let name = "programs_and_filters_of_tc_are_listed";
    if !is_root(name) || !has_linux(name, (6, 6), "TCX") {
        return;
    }
    with_veth(|| {
        let program = bpf_sys::load_program(ProgramType::Tc, "tc_other", &bpf_sys::always(-1)).expect("loaded");
        let _ingress = bpf_sys::link_tcx(&program, index("v0"), Direction::In).expect("TCX");
        let _egress = bpf_sys::link_tcx(&program, index("v0"), Direction::Out).expect("TCX");
        let told: Vec<String> = attached("v0").iter().map(ToString::to_string).collect();
        let id = id(&program);
        assert_eq!(
            told,
            [
                format!("TCX program (id {id}, 'tc_other', ingress)"),
                format!("TCX program (id {id}, 'tc_other', egress)")
            ]
        );
        let output = doctor(&["-I", "v0", "--format", "json"]);
        let report = document(&output);
        assert_eq!(check(&report, "v0 tc")["state"], "good", "sharing is no fault");
        assert_eq!(hop(&report, "tc_in")["available"], true);
    });
}

#[test]
fn classic_filters_are_listed_with_the_side_they_are_on() {
    if !is_root("classic_filters_are_listed_with_the_side_they_are_on") {
        return;
    }
    with_veth(|| {
        // Classic BPF, as it is the only classifier that needs no further kernel module.
        let classic = ["bpf", "bytecode", "1,6 0 0 4294967295,", "flowid", "1:1"];
        run("tc qdisc add dev v0 clsact");
        run_words(&[&["tc", "filter", "add", "dev", "v0", "egress"], &classic[..]].concat());
        run("tc qdisc add dev v1 ingress");
        run_words(&[&["tc", "filter", "add", "dev", "v1", "parent", "ffff:"], &classic[..]].concat());
        let told = |name: &str| attached(name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told("v0"), ["tc program (egress)"]);
        assert_eq!(told("v1"), ["tc program (ingress)"]);
    });
}

#[test]
fn a_program_on_clsact_is_named() {
    if !is_root("a_program_on_clsact_is_named") {
        return;
    }
    if !Path::new("/usr/sbin/bpftool").exists() {
        skip("a_program_on_clsact_is_named", "bpftool");
        return;
    }
    with_veth(|| {
        let nothing = None::<&str>;
        // A mount namespace that ends with this thread keeps the pin, and the mount, to itself.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private");
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), nothing).expect("bpffs");
        let program = bpf_sys::load_program(ProgramType::Tc, "tc_other", &bpf_sys::always(-1)).expect("loaded");
        let id = id(&program);
        run(&format!("bpftool prog pin id {id} /sys/fs/bpf/tc_other"));
        run("tc qdisc add dev v0 clsact");
        run("tc filter add dev v0 ingress bpf da object-pinned /sys/fs/bpf/tc_other");
        let told: Vec<String> = attached("v0").iter().map(ToString::to_string).collect();
        assert_eq!(told, [format!("tc program (id {id}, 'tc_other', ingress)")]);
        let report = document(&doctor(&["-I", "v0", "--format", "json"]));
        assert_eq!(check(&report, "bpffs")["detail"], "mounted at /sys/fs/bpf");
        assert_eq!(check(&report, "v0 tc")["ok"], true);

        fs::create_dir("/sys/fs/bpf/probe").expect("a folder");
        run(&format!("bpftool prog pin id {id} /sys/fs/bpf/probe/left"));
        let report = document(&doctor(&["-I", "v0", "--format", "json"]));
        assert_eq!(check(&report, "filters")["state"], "warning");
        assert!(check(&report, "filters")["detail"].as_str().is_some_and(|detail| detail.ends_with(": left")));
    });
}

fn attached(name: &str) -> Vec<foreign::Program> {
    let found = foreign::attached(&[Device::find(name).expect("the interface")]);
    assert_eq!(found[0].unread, Vec::<String>::new());
    found[0].programs.clone()
}

#[test]
fn a_host_that_answers_no_ping_is_warned_about() {
    if !is_root("a_host_that_answers_no_ping_is_warned_about") {
        return;
    }
    with_veth(|| {
        // The setting is that of this thread's network namespace.
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").expect("set");
        let report = document(&doctor(&["-I", "v0", "--format", "json"]));
        let check = check(&report, "answers_ipv4");
        assert_eq!(check["state"], "warning");
        assert!(check["fix"].as_str().is_some_and(|fix| fix.ends_with("sysctl -w net.ipv4.icmp_echo_ignore_all=0")));
    });
}

#[test]
fn an_interface_that_is_down_is_warned_about_when_asked_for() {
    if !is_root("an_interface_that_is_down_is_warned_about_when_asked_for") {
        return;
    }
    with_veth(|| {
        run("ip link set v1 down");
        let state = |words: &[&str], name: &str| check(&document(&doctor(words)), name)["state"].clone();
        assert_eq!(state(&["-I", "v1", "--format", "json"], "v1"), "warning");
        assert_eq!(state(&["-I", "v0", "--format", "json"], "v0"), "warning", "no carrier");
        assert_eq!(state(&["--format", "json"], "v1"), "good", "not asked for");
    });
}

#[test]
fn a_veth_takes_native_xdp_up_to_the_mtu_that_the_policy_knows() {
    if !is_root("a_veth_takes_native_xdp_up_to_the_mtu_that_the_policy_knows") {
        return;
    }
    with_veth(|| {
        let program = xdp_program("xdp_other");
        run(&format!("ip link set v1 mtu {VETH_NATIVE_MTU}"));
        drop(bpf_sys::link_xdp(&program, index("v0"), XdpMode::Native).expect("attached at the limit"));
        run("ip link set v1 mtu 9000");
        let refused = bpf_sys::link_xdp(&program, index("v0"), XdpMode::Native).expect_err("refused beyond it");
        assert_eq!(refused.raw_os_error(), Some(nix::libc::ERANGE));
    });
}

#[test]
fn an_interface_is_what_ip_says_it_is() {
    if !is_root("an_interface_is_what_ip_says_it_is") {
        return;
    }
    with_veth(|| {
        run("ip addr add 10.9.0.1 peer 10.9.0.2 dev v0");
        run("ip addr add fd00:9::1/64 dev v0 nodad");
        run("ip link property add dev v0 altname the-other-name");
        let device = Device::find("the-other-name").expect("by its other name");
        assert_eq!((device.name.as_str(), device.up, device.carrier, device.mtu), ("v0", true, true, 1500));
        assert_eq!(device.v4, [std::net::Ipv4Addr::new(10, 9, 0, 1)], "the local address, not the peer's");
        assert!(device.v6.contains(&"fd00:9::1".parse().expect("an address")));
        assert_eq!((device.driver.as_deref(), device.kind.as_deref()), (Some("veth"), Some("veth")));
        assert_eq!((device.link_layer, device.lro, device.loopback), (DeviceType::Ethernet, false, false));
        assert!(Device::find("lo").expect("lo").loopback);
    });
}

#[test]
fn a_tunnel_starts_with_the_ip_header() {
    if !is_root("a_tunnel_starts_with_the_ip_header") {
        return;
    }
    if !Path::new("/dev/net/tun").exists() {
        skip("a_tunnel_starts_with_the_ip_header", "/dev/net/tun");
        return;
    }
    with_veth(|| {
        run("ip tuntap add dev tun0 mode tun");
        run("ip tuntap add dev tap0 mode tap");
        assert_eq!(Device::find("tun0").expect("tun0").link_layer, DeviceType::RawIp);
        assert_eq!(Device::find("tap0").expect("tap0").link_layer, DeviceType::Ethernet);
    });
}

#[test]
fn doctor_leaves_a_namespace_as_it_found_it() {
    if !is_root("doctor_leaves_a_namespace_as_it_found_it") {
        return;
    }
    with_veth(|| {
        let before = picture();
        doctor(&[]);
        assert_eq!(picture(), before);
    });
}

/// Interfaces, queueing disciplines and mounts, as they stand.
fn picture() -> Vec<String> {
    let of = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mounts");
    let securityfs = mounts.lines().filter(|line| line.contains("securityfs")).count();
    vec![without_carrier(&of(&["ip", "-d", "link"])), of(&["tc", "qdisc"]), securityfs.to_string()]
}

/// The picture of links without what a new veth still changes by itself: flags and operational state.
fn without_carrier(links: &str) -> String {
    let mut words = links.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "state" => drop(words.next()),
            word if word.starts_with('<') => {}
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_probe"))
        .arg("doctor")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

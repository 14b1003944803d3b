//! A lab, look-ups on its hosts, and traffic to be looked up.

use std::{io::Write, net::SocketAddr, process::Stdio, thread, time::Duration};

use probe_ebpf::{Echo, Family};
use probe_user::{
    lab::{LabHost, Netns, Topology},
    model::{request::EchoFlow, trace::Finding},
    traffic::{Sender, Settings},
    watch::lookups::Lookups,
};

use crate::common;

/// The id of every echo packet here.
pub(crate) const ID: u16 = 0x4242;

/// The lab, if this is root.
pub(crate) fn lab(test: &str) -> Option<Topology> {
    common::is_root(test).then(|| Topology::build().expect("the lab"))
}

/// What is asked on `host` about pings between A and B.
pub(crate) fn request(host: LabHost, family: Family) -> EchoFlow {
    let remote = if host == LabHost::A { LabHost::B } else { LabHost::A };
    EchoFlow {
        local: host.address(family),
        remote: remote.address(family),
        interface: host.nics().next().map(|nic| nic.interface().to_owned()),
        ids: vec![ID],
        source_given: false,
        sent_as: None,
        choosers: Default::default(),
    }
}

/// What look-ups on `host` find of `traffic`.
pub(crate) fn found(lab: &Topology, host: LabHost, family: Family, traffic: impl FnOnce()) -> Vec<Finding> {
    let lookups = lab.netns(host).run(|| Lookups::begin(&request(host, family))).expect("inside");
    traffic();
    lab.netns(host).run(|| lookups.end(&[])).expect("inside")
}

/// Sends `count` echo packets; whether the kernel took them all.
pub(crate) fn send(lab: &Topology, from: LabHost, to: LabHost, family: Family, echo: Echo, count: u16) -> bool {
    let settings = Settings::new(echo, SocketAddr::new(to.address(family), 0));
    let send = || {
        let mut sender = Sender::open(&settings).expect("a socket");
        (1..=count).filter(|seq| sender.send(ID, *seq, &[0x5a; 56]).is_err()).count() == 0
    };
    lab.netns(from).run(send).expect("inside")
}

/// Sends one ping that is known to come back, so that neighbours are known.
pub(crate) fn warm_up(lab: &Topology) {
    for family in lab.families() {
        let to = LabHost::B.address(*family).to_string();
        let ping = lab.netns(LabHost::A).command("ping").args(["-c1", "-W2", &to]).stdout(Stdio::null()).status();
        assert!(ping.expect("ping").success(), "{family:?}");
    }
}

/// Runs a command in `netns`.
pub(crate) fn run(netns: &Netns, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = netns.command(words[0]).args(&words[1..]).stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives `rules` to nft in `netns`.
pub(crate) fn nft(netns: &Netns, rules: &str) {
    let mut child = netns.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    child.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "{rules}");
}

/// Writes a setting below `/proc/sys` of `netns`.
pub(crate) fn set(netns: &Netns, path: &str, value: &str) {
    let path = format!("/proc/sys/{path}");
    netns.run(|| std::fs::write(&path, value)).expect("inside").expect("it can be set");
}

/// By how much the counter rose.
pub(crate) fn rise(findings: &[Finding], wanted: &str) -> u64 {
    let counter = |finding: &Finding| match finding {
        Finding::Counter { name, by } if name == wanted => Some(*by),
        _ => None,
    };
    findings.iter().find_map(counter).unwrap_or(0)
}

/// Lets what was sent arrive.
pub(crate) fn settle() {
    thread::sleep(Duration::from_millis(100));
}

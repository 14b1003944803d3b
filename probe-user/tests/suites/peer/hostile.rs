//! A far end, and files, whose every text is made to change the terminal of whoever reads it.

use probe_ebpf::Echo;
use std::{
    fs,
    process::{Command, Output, Stdio},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use probe_ebpf::hop::HOPS;
use probe_user::{
    error::Failure,
    lab::LabHost,
    model::{
        attach::XdpAttachment,
        netfilter::{NetfilterHook, TableFamily},
        request::WatchRequest,
        trace::{ChainRule, Drop, Finding, HopTrace, HostFacts, HostTrace, ProgramSite},
    },
    peer::protocol::{Complaint, Hello},
    watch::Watching,
};
use serde_json::Value;

use super::{children, probes::lab};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// Colour, title, 8-bit CSI, rubout, return, controls of direction, hidden tags, and a line of its own.
pub(crate) const EVIL: &str =
    "evil\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{8}\r\u{202e}dne\u{2066}\u{200f}\u{e0041}\u{2028}\nforged: line";

fn evil() -> String {
    EVIL.to_owned()
}

/// Sees what never was, in evil words.
pub(crate) struct Evil(pub(crate) WatchRequest);

impl Watching for Evil {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let host = HostFacts {
            hostname: evil(),
            interface: evil(),
            address: Some(self.0.local),
            kernel: evil(),
            xdp_mode: XdpAttachment::Native,
            tunnel: Some(evil()),
            tunnels: vec![u32::MAX],
            netns: 7,
            everywhere: false,
            boot: evil(),
        };
        let hops = HOPS.iter().map(|row| (row.hop, HopTrace::Blind { why: evil() }));
        let drops = (0..3).map(|probe| Drop {
            time_ns: 1,
            probe: Some(probe),
            leg: Echo::Request,
            id: self.0.id,
            seq: probe,
            reason: evil(),
            function: evil(),
            stack: vec![evil()],
            interface: Some(evil()),
            source: self.0.remote,
            destination: self.0.local,
            frame: probe_user::model::trace::FrameFacts::default(),
        });
        Ok(HostTrace {
            host,
            hops: hops.collect(),
            drops: drops.collect(),
            findings: self.findings(),
            ..HostTrace::default()
        })
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}

impl Evil {
    fn findings(&self) -> Vec<Finding> {
        let (family, table, chain) = (TableFamily::Inet, evil(), evil());
        vec![
            Finding::Setting { path: evil(), value: evil() },
            Finding::Route { to: self.0.remote, errno: Some(evil()), interface: Some(evil()) },
            Finding::Counter { name: evil(), by: 3 },
            Finding::Chain {
                family,
                hook: NetfilterHook::Input,
                table: table.clone(),
                chain: chain.clone(),
                policy: evil(),
                can_drop: true,
                legacy: false,
                ending: vec![ChainRule { chain: evil(), rule: evil(), handle: None }],
                limits: Vec::new(),
            },
            Finding::Rule {
                family,
                table,
                chain,
                handle: Some(1),
                rule: evil(),
                verdict: evil(),
                leg: Echo::Request,
                packets: 3,
            },
            Finding::Neighbour { address: self.0.remote, interface: evil(), state: evil(), lladdr: Some(evil()) },
            Finding::Link { interface: evil(), up: false, carrier: false },
            Finding::Program { at: ProgramSite::Xdp, who: evil(), probe_filter: false, dropped: 0 },
        ]
    }
}

/// Its hello; it offers nothing where it has a complaint.
pub(crate) fn hello(complains: bool) -> Hello {
    let trouble = complains.then(|| Complaint { error: evil(), fix: evil() });
    let mut hello = Hello::new(evil(), evil(), trouble);
    hello.version = evil();
    hello.offers.insert(evil());
    hello
}

/// Asserts that nothing printed does anything to a terminal, and gives both streams.
fn harmless(output: &Output, about: &str) -> (String, String) {
    let streams = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).expect("UTF-8"));
    for text in &streams {
        let shown = |c: char| c == '\n' || probe_user::harmless::line(&c.to_string()) == c.to_string();
        let bad = text.chars().find(|c| !shown(*c));
        assert!(bad.is_none(), "{about}: {bad:?} in {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{about}: a line is forged: {text}");
    }
    let [stdout, stderr] = streams;
    (stdout, stderr)
}

fn diagnose(agent: &str, format: &str) -> Output {
    let lab = probe_user::lab::Topology::build().expect("a lab");
    let mut command = lab.netns(LabHost::A).command(PROBE);
    command.args(["diagnose", "10.78.0.20", "-c", "3", "-i", "0.01", "-W", "0.2", "--format", format, "-v"]);
    command.args(["--peer", agent]).env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output().expect("probe starts")
}

#[test]
fn what_a_far_end_says_does_nothing_to_a_terminal() {
    if lab("what_a_far_end_says_does_nothing_to_a_terminal").is_none() {
        return;
    }
    // Said on stdout before the hello, and on stderr.
    let says = "printf '%b\\n' 'evil\\033[31m\\033]0;x\\007\\302\\2332J\\342\\200\\256dne'".to_owned();
    for how in ["evil", "evil-complaint"] {
        let agent = format!("{says}; {says} >&2; {}", children::agent(how));
        for format in ["text", "json"] {
            let output = diagnose(&agent, format);
            let about = format!("{how}, {format}");
            let (stdout, stderr) = harmless(&output, &about);
            assert!(stderr.contains("peer: evil"), "{about}: it is relayed: {stderr}");
            assert!(stdout.contains("evil") || how == "evil-complaint", "{about}: it is told: {stdout} {stderr}");
            if format == "json" {
                serde_json::from_str::<Value>(stdout.trim()).unwrap_or_else(|error| panic!("{error}: {stdout}"));
            }
        }
    }
}

#[test]
fn what_a_far_end_says_instead_of_a_hello_does_nothing_to_a_terminal() {
    let Some(lab) = lab("what_a_far_end_says_instead_of_a_hello_does_nothing_to_a_terminal") else { return };
    drop(lab);
    for agent in [
        format!("cat <<'E'\n{EVIL}\nE\nexit 3"),
        format!("cat >&2 <<'E'\n{EVIL}\nE\nexit 3"),
        format!("cat <<'E'\n{{\"probe_hello\":{{\"protocol\":\"{EVIL}\"}}}}\nE\nexit 3"),
    ] {
        let output = diagnose(&agent, "text");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        harmless(&output, &agent);
    }
}

#[test]
fn what_stands_in_files_and_words_does_nothing_to_a_terminal() {
    let file = memfd_create("experiment", MFdFlags::empty()).expect("a file");
    let path = {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
    };
    let escaped =
        serde_json::to_string(EVIL).expect("a string").replace('\u{7f}', "\\u007f").replace('\u{9b}', "\\u009b");
    for text in [
        format!("name = {escaped}\ntitle = {escaped}\nquestion = {escaped}\n[[step]]\nfrom = {escaped}\n"),
        format!("name = {escaped}\n{escaped} = 1\n"),
        format!("name = \"{EVIL}\"\n"),
    ] {
        fs::write(&path, &text).expect("it is ours");
        for words in
            [["experiment", &path, "127.0.0.1", "--peer", "true"], ["characterize", "--compare", &path, &path, "-q"]]
        {
            let output = Command::new(PROBE).args(words).stdin(Stdio::null()).output().expect("probe starts");
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            harmless(&output, &format!("{words:?} {text:?}"));
        }
    }
    let words = ["diagnose", "--peer", "true", EVIL];
    let output = Command::new(PROBE).args(words).stdin(Stdio::null()).output().expect("probe starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    harmless(&output, "a target");
}

//! What `probe diagnose` printed at a fault of each cause, as the page of that cause shows it.
//!
//! The files are made on demand, by `cargo xtask docs --transcripts` as root, since times differ from run to run; a test holds
//! that each cause has one, or a reason why not, and that its verdict is about that cause.

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use probe_ebpf::Family;
use probe_user::{
    commands::lab::faults::by_command,
    diagnosis::places::DropPoint::{self, *},
    lab::{
        Netns, Topology,
        fault::{self, CatalogueCase, runner::broken, scene::BrokenScene},
        plan::LabHost,
    },
    model::stage::{HOSTS, LAYERS},
};

use super::{causes, repo};
use crate::common::net::own_bpffs;

/// A fault of the catalogue at which packets stop in each place, by its name there.
const FAULTS: &[(DropPoint, &str)] = &[
    (Encapsulation, "pods-agents-na-no-entry"),
    (Call, "local-no-route"),
    (Source, "local-source-not-owned"),
    (NfOutput, "local-nft-output"),
    (Reroute, "marked-machines-unreachable"),
    (NfPostrouting, "local-nft-postrouting"),
    (CgroupOut, "local-cgroup-egress"),
    (FragmentOut, "local-above-mtu"),
    (Neighbour, "local-gateway-wrong"),
    (NfEgress, "local-nft-egress"),
    (TcOut, "local-tc-egress"),
    (Qdisc, "local-qdisc-full"),
    (DriverOut, "local-no-carrier"),
    (Network, "network-ttl"),
    (Bridge, "bridged-near-bridge-forward-requests"),
    (DriverIn, "network-far-host-down"),
    (Xdp, "peer-xdp-native"),
    (TcIn, "peer-tc-ingress"),
    (NfIngress, "peer-nft-ingress"),
    (IpHeader, "peer-wrong-mac"),
    (NfPrerouting, "peer-nft-prerouting"),
    (RouteIn, "peer-rp-filter"),
    (NfForward, "two-routers-agents-r1-forward-requests"),
    (Reassembly, "peer-fragments-incomplete"),
    (NfInput, "peer-nft-input"),
    (Icmp, "peer-bad-icmp-checksum"),
    (Answer, "peer-echo-ignore-all"),
    (RouteBack, "peer-no-route"),
    (RateLimit, "peer-icmp-rate-limit"),
    (SocketLookup, "one-link-machines-answered-on-the-other"),
    (SocketFilter, "local-cgroup-ingress"),
    (Decapsulation, "pods-agents-nb-vni"),
];

/// Places for which no fault can be shown by a command, and why.
const NOT_SHOWN: &[(DropPoint, &str)] = &[
    (TunProgram, "It takes a program that holds a tun device and swallows what it reads, which the lab does not have."),
    (
        CgroupIn,
        "The kernel gives what such a program drops the reason of a socket filter: see [there](socket-filter.md).",
    ),
    (SocketBuffer, "Only a program can make its own socket's buffer too small, and `probe diagnose` does not."),
];

/// A transcript as it is kept.
struct Transcript {
    /// The fault, its IP version and what is wrong, in a line of Markdown.
    fault: String,
    /// The exit status.
    status: u8,
    /// What was typed, and what was printed.
    text: String,
}

impl Transcript {
    fn path(place: DropPoint) -> PathBuf {
        repo().join("docs/causes/transcripts").join(format!("{}.txt", causes::name(place)))
    }

    /// Reads the one of a place, if there is one.
    fn of(place: DropPoint) -> Option<Self> {
        let kept = fs::read_to_string(Self::path(place)).ok()?;
        let (fault, rest) = kept.split_once('\n')?;
        let (status, text) = rest.split_once('\n')?;
        let status = status.strip_prefix("exit status ")?.parse().ok()?;
        Some(Self { fault: fault.to_owned(), status, text: text.trim_end().to_owned() })
    }

    fn keep(&self, place: DropPoint) {
        let path = Self::path(place);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of transcripts");
        let Self { fault, status, text } = self;
        fs::write(path, format!("{fault}\nexit status {status}\n{}\n", text.trim_end())).expect("a transcript is kept");
    }

    /// Says where `place` and the verdict, or its exit status, differ.
    fn differs(&self, place: DropPoint) -> Option<String> {
        let shown = FAULTS.iter().find(|(other, _)| *other == place).map(|(_, name)| format!("`{name}`"));
        if shown.is_none_or(|name| !self.fault.contains(&name)) {
            return Some(format!("{}: it is of another fault: {}", causes::name(place), self.fault));
        }
        let number = LAYERS.iter().find(|(layer, _)| *layer == place.layer()).map(|(_, number)| *number);
        if number != Some(self.status % 16) || self.host().is_none() {
            return Some(format!("{}: exit status {} is not that of its layer", causes::name(place), self.status));
        }
        let hook = place.hook().map(|hook| hook.to_string());
        let named = hook.as_ref().is_none_or(|hook| self.text.contains(hook.as_str()));
        (!named).then(|| format!("{}: its verdict does not name the hook {hook:?}", causes::name(place)))
    }

    /// Returns the word for the host that the exit status tells.
    fn host(&self) -> Option<&'static str> {
        HOSTS.iter().find(|(_, number)| *number == self.status / 16 * 16).map(|(host, _)| host.name())
    }
}

/// The section of a cause's page.
pub(super) fn section(place: DropPoint) -> String {
    let body = Transcript::of(place).map_or_else(
        || NOT_SHOWN.iter().find(|(other, _)| *other == place).map_or(String::new(), |(_, why)| format!("{why}\n")),
        |kept| {
            let (host, layer) = (kept.host().unwrap_or_default(), place.layer().name());
            format!(
                "{}\n\n```text\n{}\n```\n\nThe exit status was {}: `{host}`, `{layer}`.\n",
                kept.fault, kept.text, kept.status
            )
        },
    );
    format!("\n## What it looks like\n\n{body}")
}

#[test]
fn each_cause_has_a_transcript_whose_verdict_names_it_or_a_reason_why_not() {
    let mut wrong = Vec::new();
    for place in causes::ALL {
        let excused = NOT_SHOWN.iter().any(|(other, _)| *other == place);
        match Transcript::of(place) {
            Some(_) if excused => wrong.push(format!("{} has a transcript: take away its excuse", causes::name(place))),
            Some(kept) => wrong.extend(kept.differs(place)),
            None if excused => {}
            None => wrong.push(format!("{} has none: cargo xtask docs --transcripts", causes::name(place))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_cause_has_a_fault_of_the_catalogue_or_a_reason_why_not() {
    let known = fault::everything();
    for place in causes::ALL {
        let shown = FAULTS.iter().filter(|(other, _)| *other == place).count();
        let excused = NOT_SHOWN.iter().filter(|(other, _)| *other == place).count();
        assert_eq!(shown + excused, 1, "{}", causes::name(place));
    }
    for (_, name) in FAULTS {
        assert!(known.iter().any(|case| case.name() == *name), "there is no fault {name}");
    }
}

/// Makes the transcripts where `PROBE_WRITE_TRANSCRIPTS` says so: `1` for all, or the names of causes. Nobody calls it
/// otherwise, and then it holds that what it would type is accepted.
#[test]
fn transcripts_are_made_on_demand() {
    let cases: Vec<_> = FAULTS.iter().map(|(place, name)| (*place, case_of(name))).collect();
    for (_, case) in &cases {
        assert!(typed(case).starts_with("probe diagnose "), "{}", case.name());
    }
    let Ok(asked) = std::env::var("PROBE_WRITE_TRANSCRIPTS") else { return };
    prepare();
    let mut wrong = Vec::new();
    for (place, case) in cases {
        let name = causes::name(place);
        if asked != "1" && !asked.split(',').any(|one| one == name) {
            continue;
        }
        let tries: Vec<_> = (0..3)
            .scan(false, |done, _| {
                if *done {
                    return None;
                }
                let made = taken(&case).and_then(|made| made.differs(place).map_or(Ok(made), Err));
                *done = made.is_ok();
                Some(made)
            })
            .collect();
        match tries.into_iter().last().expect("it is tried") {
            Ok(made) => made.keep(place),
            Err(why) => wrong.push(why),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn case_of(name: &str) -> CatalogueCase {
    fault::everything().into_iter().find(|case| case.name() == name).expect("it is in the catalogue")
}

/// Where `ssh` and `probe` of the transcripts are.
const BIN: &str = "/run/probe-transcripts";

/// Gives this thread, and what it starts, a `/run` and a bpffs of its own, and in it what is typed.
fn prepare() {
    own_bpffs();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).expect("an empty /run");
    fs::create_dir(BIN).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_probe"), Path::new(BIN).join("probe")).expect("a link");
}

/// What is typed at the sender to diagnose a fault.
fn typed(case: &CatalogueCase) -> String {
    let (target, peer, via, probe, more) = match case {
        CatalogueCase::Row(row) => {
            (LabHost::B.address(row.family), Some("b".to_owned()), Vec::new(), row.fault.probe, String::new())
        }
        CatalogueCase::Scene(scene) => {
            let (watch, fault) = (scene.watch(), scene.fault());
            (scene.address(), watch.peer.clone(), watch.via.clone(), fault.probe, scene.fill(&fault.flags))
        }
    };
    let agent = |flag: &str, host: &String| format!(" {flag} 'ssh {host} probe agent'");
    let mut line = format!("probe diagnose {target}");
    line.extend(peer.iter().map(|host| agent("--peer", host)));
    line.extend(via.iter().map(|host| agent("--via", host)));
    let mut flags = by_command::flags(&probe, case.family());
    if probe.interval.is_none() {
        flags.drain(..2);
    }
    for word in flags.iter().map(String::as_str).chain(more.split_whitespace()) {
        line += &format!(" {word}");
    }
    line + " --exit-code stage"
}

/// Makes the fault, and types at its sender what diagnoses it.
fn taken(case: &CatalogueCase) -> Result<Transcript, String> {
    let said = |error: fault::FaultError| format!("{}: {error}", case.name());
    match case {
        CatalogueCase::Row(row) => {
            let lab = Topology::build().map_err(|error| error.to_string())?;
            let _broken = broken(&lab, row).map_err(said)?;
            let handle = lab.netns(LabHost::B).as_fd().as_raw_fd();
            let agent = format!(
                "nsenter --net=/proc/{}/fd/{handle} unshare --uts sh -c 'hostname b; exec probe agent'",
                std::process::id()
            );
            reaches(&[("b".to_owned(), agent)]);
            at(lab.netns(LabHost::A), "a", true, case)
        }
        CatalogueCase::Scene(scene) => {
            let broken = BrokenScene::of(scene).map_err(said)?;
            let own = scene.watch().own_namespace;
            let hosts = scene.scene.hosts.keys().map(|host| (host.clone(), broken.built.agent(host, "probe", own)));
            reaches(&hosts.collect::<Vec<_>>());
            // What stands for machines has no names for each other.
            let names = scene.scene.hosts.keys().filter(|_| !own).map(|host| Named::of(host, broken.built.netns(host)));
            let _named: Vec<Named> = names.collect();
            at(broken.built.netns(&scene.scene.from), &scene.scene.from, own, case)
        }
    }
}

/// A name for a network namespace, as `ip netns` gives them, in this thread's own `/run`.
struct Named(PathBuf);

impl Named {
    fn of(name: &str, netns: &Netns) -> Self {
        let path = Path::new("/run/netns").join(name);
        fs::create_dir_all("/run/netns").and_then(|()| fs::write(&path, "")).expect("a file to mount on");
        let handle = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
        mount(Some(handle.as_str()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("it is a namespace");
        Self(path)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH).map(|()| fs::remove_file(&self.0));
    }
}

/// Makes `ssh HOST` run these commands.
fn reaches(hosts: &[(String, String)]) {
    let mut script = "#!/bin/sh\ncase $1 in\n".to_owned();
    for (host, command) in hosts {
        script += &format!("{host}) exec {command} ;;\n");
    }
    let path = Path::new(BIN).join("ssh");
    fs::write(&path, script + "esac\n").expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn at(netns: &Netns, host: &str, own: bool, case: &CatalogueCase) -> Result<Transcript, String> {
    let line = typed(case);
    let mut command = netns.command("unshare");
    command.args(["--uts", "sh", "-c", &format!("hostname {host}; exec {line}")]);
    if own {
        command.env("PROBE_OWN_NAMESPACE", "1");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{BIN}:{path}")).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let ran = command.output().map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&ran.stdout);
    let status = ran.status.code().and_then(|code| u8::try_from(code).ok()).filter(|_| !printed.is_empty());
    let status = status.ok_or_else(|| format!("{line}: {}", String::from_utf8_lossy(&ran.stderr)))?;
    let version = if case.family() == Family::V4 { "IPv4" } else { "IPv6" };
    let fault =
        format!("Fault `{}` of `probe lab faults`, {version}, on Linux {}: {}.", case.name(), release(), case.title());
    Ok(Transcript { fault, status, text: format!("$ {line}\n{printed}") })
}

/// The first two numbers of this kernel's release.
fn release() -> String {
    let output = Command::new("uname").arg("-r").output().expect("uname is there");
    let release = String::from_utf8_lossy(&output.stdout).into_owned();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

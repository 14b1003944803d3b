//! The diagnosis as a user has it: `probe diagnose` on A, `probe agent` on B, and the document that it prints.

use std::{
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    panic,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::beside_ping::ping;
use crate::{
    error::Failure,
    host::{
        child::{self, Finished},
        command::quoted,
    },
    lab::{
        Netns, Topology,
        fault::{BuiltScene, Case, Diagnoser, Got, Pinged, Probe, SceneCase, like_ping::mends_itself},
        plan::LabHost,
    },
};
use probe_ebpf::Family;

/// How long a diagnosis may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(30);

/// The time between two probes if the fault does not say; shorter than a user's, as nobody else uses the lab's network.
const INTERVAL: Duration = Duration::from_millis(10);

/// Runs probe anew for each case.
#[derive(Clone, Debug)]
pub struct ByCommand {
    program: PathBuf,
    with_ping: bool,
}

impl ByCommand {
    /// Returns one that runs this program itself.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self::of(own_program()?))
    }

    /// Returns one that runs `program`, which is probe.
    pub fn of(program: PathBuf) -> Self {
        Self { program, with_ping: false }
    }

    /// Returns one that also runs ping with the same flags behind each diagnosis.
    #[must_use]
    pub fn with_ping(self) -> Self {
        Self { with_ping: true, ..self }
    }

    /// Runs `diagnose`, and ping on `way` if that was asked for and it can send such probes.
    fn beside(&self, way: &Way<'_>, diagnose: impl FnOnce() -> Result<Got, Failure>) -> Result<Got, Failure> {
        if !self.with_ping || way.probe.reply_only {
            return diagnose();
        }
        let ping = || {
            ping(way.from, way.target, way.probe, &way.flags, INTERVAL)
                .map_err(|error| Failure::new(format!("cannot run ping: {error}"), "install iputils-ping"))
        };
        let (ping, got): (Pinged, Got) = if way.unsettled {
            thread::scope(|scope| {
                let ping = scope.spawn(ping);
                let got = diagnose()?;
                let ping = ping.join().unwrap_or_else(|cause| panic::resume_unwind(cause))?;
                Ok::<_, Failure>((ping, got))
            })?
        } else {
            let got = diagnose()?;
            (ping()?, got)
        };
        Ok(Got { ping: Some(ping), ..got })
    }

    fn said(&self, netns: &Netns, words: &[String], own_namespace: bool) -> Result<Got, Failure> {
        let start = Instant::now();
        let mut command = netns.command(&self.program);
        command.args(words);
        // Namespaces that stand for machines.
        if own_namespace {
            command.env("PROBE_OWN_NAMESPACE", "1");
        } else {
            command.env_remove("PROBE_OWN_NAMESPACE");
        }
        let Finished { stdout, stderr, .. } = child::run(&mut command, b"", LIMIT)
            .map_err(|error| no_diagnosis(&format!("cannot run probe: {error}")))?;
        let document = serde_json::from_str(&stdout).map_err(|_| no_diagnosis(last_line(&stderr)))?;
        Got::from_document(&document, start.elapsed().as_secs_f64()).map_err(|why| no_diagnosis(&why))
    }
}

/// Where a ping is sent, and with what.
struct Way<'a> {
    from: &'a Netns,
    target: IpAddr,
    probe: &'a Probe,
    /// Further flags of probe, which mean the same to ping but for the name of `-S`.
    flags: String,
    /// Whether what is broken mends by itself, so that ping runs at the same time.
    unsettled: bool,
}

/// Returns the arguments of `probe` for a case of a scene, where `agent` gives the command that reaches a host.
fn scene_words(case: &SceneCase, agent: impl Fn(&str) -> String) -> Vec<String> {
    let (watch, fault) = (case.watch(), case.fault());
    let mut words = vec!["diagnose".to_owned(), case.address().to_string(), "--format".to_owned(), "json".to_owned()];
    words.extend(watch.peer.iter().flat_map(|host| ["--peer".to_owned(), agent(host)]));
    words.extend(watch.via.iter().flat_map(|host| ["--via".to_owned(), agent(host)]));
    words.extend(flags(&fault.probe, case.family));
    words.extend(case.fill(&fault.flags).split_whitespace().map(str::to_owned));
    words
}

/// Returns the arguments of `probe` for `case`, where `peer` is the command that starts the far end.
fn words(peer: &str, case: &Case) -> Vec<String> {
    let mut words = vec!["diagnose".to_owned(), LabHost::B.address(case.family).to_string()];
    words.extend(["--peer".to_owned(), peer.to_owned(), "--format".to_owned(), "json".to_owned()]);
    words.extend(flags(&case.fault.probe, case.family));
    words
}

/// Returns the command that starts an agent on B.
pub(in crate::commands::lab) fn agent_on_b(program: &Path, lab: &Topology) -> String {
    let b = lab.netns(LabHost::B).as_fd().as_raw_fd();
    let program = quoted(&program.to_string_lossy());
    // By the handle of this process, since the lab's namespaces have no names.
    format!("nsenter --net=/proc/{}/fd/{b} {program} agent", std::process::id())
}

/// Returns the path of this program.
///
/// # Errors
/// `/proc` does not show it.
pub(in crate::commands::lab) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find probe's own binary: {error}"), "mount /proc"))
}

/// Returns the flags that make probes like this; the first two are the time between two of them.
pub fn flags(probe: &Probe, family: Family) -> Vec<String> {
    let pair = |flag: &str, value: Option<String>| value.map(|value| [flag.to_owned(), value]);
    let pairs = [
        pair("-i", Some(probe.interval.unwrap_or(INTERVAL).as_secs_f64().to_string())),
        pair("-c", probe.count.map(|count| count.to_string())),
        pair("-s", probe.size.map(|size| size.to_string())),
        pair("-t", probe.ttl.map(|ttl| ttl.to_string())),
        pair("-e", probe.id.map(|id| id.to_string())),
        pair("-S", probe.source(family).map(|source| source.to_string())),
    ];
    let mut flags: Vec<String> = pairs.into_iter().flatten().flatten().collect();
    flags.extend(probe.dont_fragment.then(|| "--df".to_owned()));
    flags.extend(probe.reply_only.then(|| "--reply-only".to_owned()));
    flags
}

impl Diagnoser for ByCommand {
    fn diagnose(&mut self, lab: &Topology, case: &Case) -> Result<Got, Failure> {
        let a = lab.netns(LabHost::A);
        let way = Way {
            from: a,
            target: LabHost::B.address(case.family),
            probe: &case.fault.probe,
            flags: String::new(),
            unsettled: mends_itself(&case.fault.expected.wanted(case.leg, None)),
        };
        self.beside(&way, || self.said(a, &words(&agent_on_b(&self.program, lab), case), true))
    }

    fn diagnose_scene(&mut self, scene: &BuiltScene, case: &SceneCase) -> Result<Got, Failure> {
        let own = case.watch().own_namespace;
        let program = self.program.to_string_lossy();
        let words = scene_words(case, |host| scene.agent(host, &program, own));
        let from = scene.netns(&case.scene.from);
        let fault = case.fault();
        let way = Way {
            from,
            target: case.address(),
            probe: &fault.probe,
            flags: case.fill(&fault.flags),
            unsettled: mends_itself(&case.wanted()),
        };
        self.beside(&way, || self.said(from, &words, own))
    }
}

fn no_diagnosis(why: &str) -> Failure {
    Failure::new(format!("no diagnosis: {why}"), "")
}

/// Returns the last line that is not empty.
pub(in crate::commands::lab) fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it printed nothing")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;
    use crate::{cli::Cli, lab::fault};

    fn flags_of(name: &str) -> String {
        let case = fault::all().into_iter().find(|case| case.name == name).expect("it is in the catalogue");
        flags(&case.fault.probe, case.family).join(" ")
    }

    #[test]
    fn probes_are_asked_for_by_flags() {
        assert_eq!(flags_of("peer-nft-input"), "-i 0.01");
        assert_eq!(flags_of("local-above-mtu"), "-i 0.01 -s 1600 --df");
        assert_eq!(flags_of("local-source-not-owned"), "-i 0.01 -S 192.0.2.1");
        assert_eq!(flags_of("network-unsolicited-reply"), "-i 0.01 --reply-only");
        assert_eq!(flags_of("network-ttl"), "-i 0.01 -t 1");
        assert_eq!(flags_of("healthy-many"), "-i 0.0005 -c 1024");
    }

    #[test]
    fn every_case_of_the_catalogue_is_a_command_that_is_accepted() {
        for case in fault::all() {
            let words = words("nsenter --net=/proc/1/fd/3 probe agent", &case);
            let line = words.join(" ");
            Cli::try_parse_from(["probe".to_owned()].into_iter().chain(words.clone()))
                .unwrap_or_else(|error| panic!("{}: probe {line}: {error}", case.name));
            let flags: Vec<_> = words.iter().filter(|word| word.starts_with('-')).collect();
            assert_eq!(flags.len(), flags.iter().collect::<BTreeSet<_>>().len(), "{line}");
        }
    }

    #[test]
    fn every_case_of_a_scene_is_a_command_that_is_accepted() {
        for case in fault::scene::all() {
            let words = scene_words(&case, |host| format!("reach {host} probe agent"));
            let line = words.join(" ");
            Cli::try_parse_from(["probe".to_owned()].into_iter().chain(words))
                .unwrap_or_else(|error| panic!("{}: probe {line}: {error}", case.name));
        }
    }

    #[test]
    fn a_path_with_spaces_is_one_word() {
        assert_eq!(quoted("/usr/bin/probe"), "/usr/bin/probe");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}

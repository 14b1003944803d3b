//! `probe diagnose --as`: what meets a process, a unit or a user by its user and its cgroup meets the probes, too.

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use probe_ebpf::Direction;
use probe_user::{
    ebpf::bpf_sys::{ProgramType, always, link_cgroup, load_program},
    host::cgroup,
    lab::Netns,
};
use serde_json::Value;

use crate::common::{
    self,
    net::{B4, B6, Pair, eventually, sh},
    run::{Running, command, probe},
};

/// A process that sleeps as nobody in a cgroup of its own, which is called as a unit of systemd is.
struct Service {
    process: Child,
    slice: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Service {
    /// Starts it in `netns`; nothing where there are no cgroups.
    fn start(netns: &Netns, word: &str) -> Option<Self> {
        let name = format!("probe-{word}-{}.service", std::process::id());
        let slice = cgroup::root()?.join(format!("probe-{word}-{}.slice", std::process::id()));
        let folder = slice.join(&name);
        fs::create_dir_all(&folder).expect("root can");
        let mut sleep = netns.command("setpriv");
        sleep.args("--reuid 65534 --regid 65534 --clear-groups sleep 120".split(' '));
        let process = sleep.spawn().expect("setpriv is there");
        fs::write(folder.join("cgroup.procs"), process.id().to_string()).expect("root can");
        let service = Self { process, slice, folder, name };
        eventually("it sleeps", || fs::read_to_string(service.of_proc("comm")).is_ok_and(|name| name == "sleep\n"));
        Some(service)
    }

    fn of_proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.id())
    }

    /// Drops whatever leaves its sockets, until that is dropped.
    fn denied(&self) -> OwnedFd {
        let program = load_program(ProgramType::CgroupSkb, "deny", &always(0)).expect("a program");
        link_cgroup(program, File::open(&self.folder).expect("it is there"), Direction::Out).expect("a link")
    }

    fn set_frozen(&self, frozen: bool) {
        fs::write(self.folder.join("cgroup.freeze"), if frozen { "1" } else { "0" }).expect("root can");
        let wanted = format!("frozen {}", u8::from(frozen));
        let events = || fs::read_to_string(self.folder.join("cgroup.events")).expect("it is there");
        eventually("it is frozen, or not", || events().lines().any(|line| line == wanted));
    }

    /// The processes in its cgroup.
    fn members(&self) -> Vec<u32> {
        cgroup::processes(&self.folder)
    }

    fn is_alone(&self) -> bool {
        self.members() == [self.process.id()]
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for folder in [&self.folder, &self.slice] {
            remove(folder);
        }
    }
}

/// Removes a cgroup as soon as the kernel has let the last process go.
fn remove(folder: &Path) {
    for _ in 0..200 {
        if fs::remove_dir(folder).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

const FEW: &str = "-c 3 -i 0.02 -W 0.3";

fn diagnosed(pair: &Pair, words: &str) -> Value {
    probe(&pair.a, &format!("diagnose {FEW} {words} --format json")).json()
}

/// Asserts that the probes stop by the sender alone: as root they are answered, and unchanged they are not.
fn by_the_sender(report: &Value) {
    let control = &report["controls"][0];
    assert_eq!(report["answered"], 0, "{report}");
    assert_eq!((&control["field"], &control["to"]), (&"sender".into(), &"root".into()), "{report}");
    assert_eq!((&control["answered"], &control["sent"]), (&4.into(), &4.into()), "{report}");
    assert_eq!(control["unchanged"]["after_answered"], 0, "{report}");
}

#[test]
fn a_program_at_a_units_cgroup_drops_the_probes_of_the_unit_and_nobody_elses() {
    const TEST: &str = "a_program_at_a_units_cgroup_drops_the_probes_of_the_unit_and_nobody_elses";
    if !common::is_root(TEST) {
        return;
    }
    let pair = Pair::new();
    let Some(service) = Service::start(&pair.a, "deny") else { return common::skip(TEST, "cgroup2") };
    let unit = format!("--as unit:{}", service.name);
    let passes = diagnosed(&pair, &format!("{B4} {unit}"));
    assert_eq!((&passes["answered"], &passes["controls"]), (&3.into(), &Value::Array(Vec::new())), "{passes}");
    let denied = service.denied();
    for (target, ping) in [(B4.to_string(), false), (B6.to_string(), true)] {
        if ping {
            sh(&pair.a, "sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
        }
        let report = diagnosed(&pair, &format!("{target} {unit}"));
        by_the_sender(&report);
        let stop = &report["stops"][0];
        assert_eq!((&stop["layer"], &stop["host"]), (&"cgroup".into(), &"local".into()), "{report}");
        let program = stop["cause"]["program"].as_str().unwrap_or_default();
        assert!(program.contains("'deny'") && program.contains(&format!("of {}", service.name)), "{report}");
        let sentence = report["verdict"]["sentence"].as_str().unwrap_or_default();
        assert!(
            sentence.ends_with(&format!("as root in place of unit {} they are answered.", service.name)),
            "{sentence}"
        );
        let sender = &report["as"];
        assert_eq!((&sender["pid"], &sender["uid"]), (&service.process.id().into(), &65_534.into()), "{report}");
        assert!(sender["cgroup"].as_str().is_some_and(|path| path.ends_with(&service.name)), "{report}");
        // A ping socket needs no file that grants more.
        assert_eq!(sender["raw_by"].is_null(), ping || !sender_has_ping(), "{report}");
    }
    assert_eq!(diagnosed(&pair, &B4.to_string())["answered"], 3);
    assert!(service.is_alone(), "{:?}", service.members());
    drop(denied);
}

/// Whether `ping` here has raw sockets by its file.
fn sender_has_ping() -> bool {
    let listed = std::process::Command::new("getcap").arg("/usr/bin/ping").output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("cap_net_raw"))
}

#[test]
fn rules_for_a_user_meet_the_probes_of_that_user_and_nobody_elses() {
    if !common::is_root("rules_for_a_user_meet_the_probes_of_that_user_and_nobody_elses") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
    sh(
        &pair.a,
        "nft 'add table inet t; add chain inet t out { type filter hook output priority 0; }
              add rule inet t out meta skuid 65534 meta l4proto { icmp, ipv6-icmp } drop'",
    );
    let report = diagnosed(&pair, &format!("{B4} --as user:65534"));
    by_the_sender(&report);
    assert_eq!(report["stops"][0]["cause"]["netfilter"]["chain"], "out", "{report}");
    assert_eq!(report["as"]["name"], "user nobody", "{report}");
    assert!(report["as"]["pid"].is_null() && report["as"]["cgroup"].is_null(), "{report}");
    sh(
        &pair.a,
        "nft flush ruleset
         ip -6 rule add uidrange 65534-65534 lookup 77 && ip -6 route add blackhole default table 77",
    );
    let report = diagnosed(&pair, &format!("{B6} --as user:nobody"));
    by_the_sender(&report);
    assert_eq!(report["stops"][0]["layer"], "route", "{report}");
    let sentence = report["verdict"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("uidrange 65534-65534 lookup 77"), "{sentence}");
    assert_eq!(diagnosed(&pair, &B6.to_string())["answered"], 3);
}

#[test]
fn whom_nobody_can_be_sent_as_is_refused_in_one_sentence_with_its_fix() {
    const TEST: &str = "whom_nobody_can_be_sent_as_is_refused_in_one_sentence_with_its_fix";
    if !common::is_root(TEST) {
        return;
    }
    let pair = Pair::new();
    let Some(service) = Service::start(&pair.a, "refused") else { return common::skip(TEST, "cgroup2") };
    let refused = |words: &str, error: &str, fix: &str| {
        let ran = probe(&pair.a, &format!("diagnose {FEW} {B4} {words}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (2, "", 1), "{words}: {ran:?}");
        assert!(ran.stderr.contains(error) && ran.stderr.contains(&format!(" — {fix}")), "{words}: {}", ran.stderr);
    };
    let pid = service.process.id();
    refused("--as 4294967295", "there is no process 4294967295", "`ps -e`");
    refused("--as unit:no-such-unit", "no unit 'no-such-unit.service' runs on this host", "`systemctl");
    refused("--as user:no-such-user", "there is no user 'no-such-user'", "`getent passwd`");
    refused("--as container:no-such", "there is no container 'no-such'", "give its name");
    refused(&format!("--as {pid} --netns {pid}"), "from its own network namespace", "leave --netns");
    refused("--as nobody", "neither the id of a process nor unit:NAME", "see --help");
    let range = "net.ipv4.ping_group_range excludes its groups";
    let mut strict = pair.a.command("setpriv");
    strict.args("--reuid 65534 --regid 65534 --clear-groups --no-new-privs sleep 60".split(' '));
    let mut strict = strict.spawn().expect("setpriv is there");
    let status = format!("/proc/{}/status", strict.id());
    eventually("it sleeps", || fs::read_to_string(&status).is_ok_and(|text| text.starts_with("Name:\tsleep")));
    sh(&pair.a, "sysctl -qw net.ipv4.ping_group_range='1 0'");
    refused(&format!("--as {}", strict.id()), range, "sudo sysctl net.ipv4.ping_group_range");
    strict.kill().and_then(|()| strict.wait()).expect("it is ours");
    let mut other = pair.a.command("unshare").args(["--user", "sleep", "60"]).spawn().expect("unshare is there");
    let name = format!("/proc/{}/comm", other.id());
    eventually("it sleeps", || fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n"));
    refused(&format!("--as {}", other.id()), "lives in a user namespace of its own", "--netns");
    other.kill().and_then(|()| other.wait()).expect("it is ours");
    service.set_frozen(true);
    refused(&format!("--as unit:{}", service.name), "it is frozen", "thaw it: echo 0 > ");
    service.set_frozen(false);
    let mut plain = pair.a.command("setpriv");
    plain.args([
        "--reuid",
        "65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_probe"),
        "diagnose",
        "127.0.0.1",
        "--as",
        "1",
    ]);
    let output = plain.output().expect("setpriv is there");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // Where others may not read the folder of the program, it is setpriv that is refused.
    assert!(told.contains("CAP_SETUID") || told.contains("Permission denied"), "{told}");
}

#[test]
fn nobody_stays_in_the_cgroup_of_a_unit_when_probe_is_killed() {
    const TEST: &str = "nobody_stays_in_the_cgroup_of_a_unit_when_probe_is_killed";
    if !common::is_root(TEST) {
        return;
    }
    let pair = Pair::new();
    let Some(service) = Service::start(&pair.a, "killed") else { return common::skip(TEST, "cgroup2") };
    sh(
        &pair.a,
        "nft 'add table ip t; add chain ip t out { type filter hook output priority 0; }
              add rule ip t out icmp type echo-request counter drop'",
    );
    let words = format!("diagnose -c 30 -i 0.05 {B4} --as unit:{}", service.name);
    let running = Running::of(command(&pair.a, &words));
    eventually("it sends", || !sh(&pair.a, "nft list ruleset").contains("packets 0 "));
    // Whoever enters from here on stands still: the child that opens the socket of a control.
    service.set_frozen(true);
    eventually("a child is inside", || service.members().len() == 2);
    assert_eq!(running.end_with(Signal::SIGKILL).code, 137);
    eventually("it is alone again", || service.is_alone());
    service.set_frozen(false);
}

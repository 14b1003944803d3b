//! What `--peer` is told about commands that do not serve, and that none of their processes stays.

use probe_ebpf::Echo;
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use probe_user::{
    error::Failure,
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
    },
    peer::{
        Peer, PeerOptions, Trouble,
        command::Relay,
        protocol::{PROTOCOL, SendOrder},
    },
    stop::StopSignal,
};

use super::children;
use crate::common::is_root;

/// Lines that a far end printed on stderr.
#[derive(Clone, Default)]
pub(crate) struct Relayed(Arc<Mutex<Vec<String>>>);

impl Relayed {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic in the relay").clone()
    }

    pub(crate) fn relay(&self) -> Relay {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line: &str| lines.lock().expect("no panic in the relay").push(line.to_owned()))
    }
}

pub(crate) fn request() -> WatchRequest {
    let address = [127, 0, 0, 1].into();
    WatchRequest {
        nonce: 7,
        id: 43,
        probes: 3,
        local: address,
        remote: address,
        interface: None,
        role: HostRole::Receiver,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests: RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

fn impatient(command: &str) -> PeerOptions {
    PeerOptions { hello: Duration::from_secs(2), answer: Duration::from_millis(300), ..PeerOptions::new(command) }
}

fn start(command: &str, relayed: &Relayed) -> Peer {
    Peer::start(impatient(command), &StopSignal::default(), relayed.relay()).expect("sh is there")
}

/// What goes wrong before an agent speaks.
fn no_hello(command: &str) -> Failure {
    let mut peer = start(command, &Relayed::default());
    peer.greet().map(drop).expect_err("no agent").into()
}

/// A shell command that says a hello.
fn says(protocol: u32, abi: u32) -> String {
    format!(r#"echo '{{"probe_hello":{{"protocol":{protocol},"abi":{abi},"version":"9","offers":["watch"]}}}}'"#)
}

fn ours() -> String {
    says(PROTOCOL, probe_ebpf::ABI_VERSION)
}

#[test]
fn an_agent_serves_over_pipes_behind_a_banner() {
    let relayed = Relayed::default();
    let mut peer = start(&format!("echo 'Welcome to b'; {}", children::agent("serve")), &relayed);
    assert_eq!(peer.greet().expect("an agent").hostname, "fake");
    let ready = peer.watch(request()).expect("it watches");
    assert_eq!((ready.host.interface.as_str(), ready.blind.len()), ("lo", 1));
    let until = Instant::now() + Duration::from_secs(5);
    let seen = loop {
        if let Some(seen) = peer.look().expect("it answers") {
            break seen;
        }
        assert!(Instant::now() < until, "no answer to a look");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(seen.host.hostname, "fake");
    let asked = peer.finish().expect("it listens");
    assert_eq!(peer.finished(asked).expect("all that it saw"), seen);
    let again = peer.finish().and_then(|asked| peer.finished(asked)).expect_err("it has finished");
    assert!(matches!(again, Trouble::Refused { .. }), "{again}");
    drop(peer);
    let lines = relayed.lines();
    assert_eq!(lines.first().map(String::as_str), Some("Welcome to b"));
    assert_eq!(lines.last().map(String::as_str), Some("the agent ends: true"));
}

#[test]
fn an_agent_sends_to_its_controller_what_is_ordered() {
    if !is_root("an_agent_sends_to_its_controller_what_is_ordered") {
        return;
    }
    let mut peer = start(&children::agent("serve"), &Relayed::default());
    peer.greet().expect("an agent");
    let order = SendOrder {
        echo: Echo::Request,
        id: 4343,
        first_seq: 9,
        count: 3,
        interval_ms: 1,
        size: 56,
        nonce: 8,
        wait_ms: 2000,
    };
    let early = peer.send(order.clone()).expect_err("it does not know its controller's address yet");
    assert!(matches!(early, Trouble::Refused { .. }), "{early}");
    peer.watch(request()).expect("it watches");
    let sent = peer.send(order.clone()).expect("it sends");
    assert_eq!((sent.probes.len(), sent.received.len(), sent.probes[0].seq), (3, 3, 9), "{sent:?}");
    let failure = Failure::from(peer.send(SendOrder { interval_ms: 0, ..order }).expect_err("too fast"));
    assert!(failure.error.contains("1 ms between two packets"), "{failure}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let failure = no_hello("no-such-program-9 agent");
    assert!(failure.error.contains("exit status 127") && failure.error.contains("no-such-program-9"), "{failure}");
    assert!(failure.fix.contains("spelling"), "{failure}");
}

#[test]
fn a_command_that_ends_at_once_is_told_with_its_last_words() {
    let failure = no_hello("echo one >&2; echo 'the bridge is out' >&2; exit 7");
    assert!(failure.error.ends_with("(exit status 7: the bridge is out)"), "{failure}");
    assert!(no_hello("true").error.ends_with("(exit status 0)"));
    assert!(no_hello("kill -9 $$").error.ends_with("(signal 9)"));
}

#[test]
fn a_question_for_a_password_is_told_as_what_it_is() {
    for line in [
        "b: Permission denied (publickey,password).",
        "sudo: a terminal is required to read the password; either use the -S option",
    ] {
        let failure = no_hello(&format!("echo '{line}' >&2; echo; exit 255"));
        assert!(failure.error.contains(line) && failure.fix.contains("NOPASSWD"), "{failure}");
    }
    let failure = no_hello("echo \"b's password: \" >&2; sleep 100");
    assert!(failure.fix.contains("ssh-add"), "{failure}");
}

#[test]
fn nothing_can_ask_for_a_password_on_our_terminal() {
    // The session, and the terminal of the process, which is 0 where it has none: proc_pid_stat(5).
    let failure = no_hello("echo $$ $(cut -d ' ' -f 6,7 /proc/$$/stat) >&2");
    let said = failure.error.trim_end_matches(')').rsplit_once(": ").expect("its last words").1.to_owned();
    let numbers: Vec<&str> = said.split(' ').collect();
    assert_eq!((numbers[0], numbers[2]), (numbers[1], "0"), "{failure}");
}

#[test]
fn a_command_that_hangs_or_only_prints_is_not_waited_for_long() {
    let started = Instant::now();
    let failure = no_hello("echo 'Last login: today'; sleep 100");
    assert!(failure.error.contains("within 2 s; it printed: Last login: today"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let failure = no_hello("cat /dev/zero");
    assert!(failure.error.contains("longer than"), "{failure}");
}

#[test]
fn another_version_is_told_with_both_numbers() {
    let abi = probe_ebpf::ABI_VERSION;
    for theirs in [1, 99] {
        let failure = no_hello(&format!("{}; cat", says(theirs, abi)));
        assert_eq!(failure.error, format!("the far end uses peer protocol {theirs}, this one 2"));
        assert!(failure.fix.contains("the same version of probe on both hosts"), "{failure}");
    }
    let failure = no_hello(&format!("{}; cat", says(PROTOCOL, abi + 1)));
    assert_eq!(failure.error, format!("the far end's kernel half has ABI {}, this one's {abi}", abi + 1));
}

/// What goes wrong when a command that has said hello is asked to watch.
fn no_watch(rest: &str) -> Failure {
    let mut peer = start(&format!("{}; {rest}", ours()), &Relayed::default());
    peer.greet().expect("a hello");
    peer.watch(request()).map(drop).expect_err("no agent").into()
}

#[test]
fn a_far_end_that_fails_after_its_hello_is_told_how() {
    let failure = no_watch("echo 'out of memory' >&2; exit 9");
    assert_eq!(failure.error, "the far end is gone (exit status 9: out of memory)");
    let failure = no_watch("read line; exit 1");
    assert_eq!(failure.error, "the far end is gone (exit status 1)");
    assert!(no_watch("cat >/dev/null").error.contains("did not answer within 0.3 s"));
    assert!(no_watch("read line; echo logout").error.contains("not a message: \"logout\""));
    let echo = no_watch("cat");
    assert!(echo.error.contains("does not keep to the protocol") && echo.fix.contains("no ssh -t"), "{echo}");
}

#[test]
fn what_the_hello_did_not_offer_is_not_asked_for() {
    let trouble = r#"{"error":"not root","fix":"sudo"}"#;
    let hello = format!(
        r#"echo '{{"probe_hello":{{"protocol":{PROTOCOL},"abi":{},"version":"9","trouble":{trouble}}}}}'; cat"#,
        probe_ebpf::ABI_VERSION
    );
    let mut peer = start(&hello, &Relayed::default());
    peer.greet().expect("a hello");
    let failure = Failure::from(peer.watch(request()).expect_err("nothing is offered"));
    assert_eq!(failure.to_string(), "the far end: not root — on the far end: sudo");
}

#[test]
fn a_stop_ends_every_wait() {
    let stop = StopSignal::default();
    let mut peer = Peer::start(PeerOptions::new("sleep 100"), &stop, Relayed::default().relay()).expect("sh is there");
    stop.ask();
    assert!(matches!(peer.greet(), Err(Trouble::Stopped)));
}

#[test]
fn no_process_of_a_command_stays() {
    let relayed = Relayed::default();
    let mut peer = start("sleep 1000 & echo $$ $! >&2; trap '' TERM; cat | cat; wait", &relayed);
    assert!(peer.greet().is_err());
    drop(peer);
    let lines = relayed.lines();
    let pids: Vec<&str> = lines.first().expect("two numbers").split(' ').collect();
    assert_eq!(pids.len(), 2);
    for pid in pids {
        let until = Instant::now() + Duration::from_secs(5);
        // The second one is reaped by whoever adopted it.
        while Path::new("/proc").join(pid).exists() && !is_zombie(pid) {
            assert!(Instant::now() < until, "{pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn is_zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

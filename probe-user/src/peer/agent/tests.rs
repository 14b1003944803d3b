//! Tests of an agent on pipes of this process, with a fake instead of the kernel.

use std::{
    io::{BufRead, BufReader, PipeReader, PipeWriter, pipe},
    sync::atomic::{AtomicUsize, Ordering},
    thread::JoinHandle,
};

use probe_ebpf::Hop;

use super::*;
use crate::{
    model::request::{HostRole, RequestHandling},
    peer::protocol::SendOrder,
    traffic::{
        batch::{EchoFields, What},
        sender::Fragmentation,
    },
};

/// How many fakes are attached, over all tests of this file that use [`Fake`].
static ATTACHED: AtomicUsize = AtomicUsize::new(0);

struct Fake;

impl Watching for Fake {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let blind = HopTrace::Blind { why: "a fake has no eyes".into() };
        Ok(HostTrace { hops: [(Hop::TcIn, blind)].into(), ..HostTrace::default() })
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        ATTACHED.fetch_sub(1, Ordering::SeqCst);
    }
}

fn fake(_: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    ATTACHED.fetch_add(1, Ordering::SeqCst);
    Ok(Box::new(Fake))
}

fn blind(_: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Err(Failure::new("no eyes", "grow some"))
}

struct Served {
    to: PipeWriter,
    from: BufReader<PipeReader>,
    end: JoinHandle<Result<(), AgentError>>,
}

fn serve(factory: Factory, trouble: Option<Complaint>) -> Served {
    let (their_input, to) = pipe().expect("a pipe");
    let (from, their_output) = pipe().expect("a pipe");
    let hello = Hello::new("b".into(), "6".into(), trouble);
    let agent = AgentSetup { hello, interface: None, attach: Attach::default(), factory };
    let end = thread::spawn(move || agent.serve(their_input, their_output, &StopSignal::default()));
    let mut served = Served { to, from: BufReader::new(from), end };
    assert!(Hello::in_line(&served.line()).is_some_and(|hello| hello.is_ok()));
    served
}

impl Served {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("a pipe");
        line
    }

    fn ask(&mut self, message: Request) -> AgentReply {
        let line = encode(&Numbered { number: 5, message }, MAX_REQUEST_BYTES).expect("short");
        self.to.write_all(&line).expect("a pipe");
        let answer = decode::<AgentReply>(self.line().as_bytes()).expect("an answer");
        assert_eq!(answer.number, 5);
        answer.message
    }

    /// Ends its input and returns how it ended.
    fn end(self) -> Result<(), AgentError> {
        drop(self.to);
        self.end.join().expect("no panic")
    }
}

fn watch() -> Request {
    let address = [127, 0, 0, 1].into();
    Request::Watch(WatchRequest {
        nonce: 1,
        id: 43,
        probes: 1,
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
    })
}

fn refused(answer: &AgentReply) -> &str {
    match answer {
        AgentReply::Refused(complaint) => &complaint.error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_watches_looks_finishes_and_ends_with_its_input() {
    let mut served = serve(fake, None);
    let AgentReply::Ready(ready) = served.ask(watch()) else { panic!("not ready") };
    assert_eq!(ready.blind[&Hop::TcIn], "a fake has no eyes");
    assert!(matches!(served.ask(Request::Look), AgentReply::Sight(_)));
    assert!(refused(&served.ask(watch())).contains("one run"));
    assert!(matches!(served.ask(Request::Finish), AgentReply::Sight(_)));
    assert!(refused(&served.ask(Request::Finish)).contains("not watching"));
    assert!(served.end().is_ok());

    // The end of the input, garbage and a truncated message detach what is attached.
    for garbage in ["", "hello there\n", "{\"number\":1,\"message\":\"lo"] {
        let mut served = serve(fake, None);
        assert!(matches!(served.ask(watch()), AgentReply::Ready(_)));
        assert_eq!(ATTACHED.load(Ordering::SeqCst), 1);
        served.to.write_all(garbage.as_bytes()).expect("a pipe");
        assert_eq!(served.end().is_ok(), garbage.is_empty(), "{garbage}");
        assert_eq!(ATTACHED.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_batch_is_for_the_watched_controller_and_for_nobody_else() {
    let packet = |destination: [u8; 4]| PacketSpec {
        number: 0,
        after_ms: 0,
        what: What::Reply(EchoFields { id: 1, seq: 1, code: 0, size: 56, nonce: 1 }),
        source: None,
        destination: destination.into(),
        ttl: None,
        fragmentation: Fragmentation::Allowed,
    };
    let mut served = serve(fake, None);
    assert!(refused(&served.ask(Request::Batch(vec![packet([127, 0, 0, 1])]))).contains("not watching"));
    assert!(refused(&served.ask(Request::BatchProgress)).contains("not watching"));
    assert!(refused(&served.ask(Request::Absorbed)).contains("not watching"));
    assert!(matches!(served.ask(watch()), AgentReply::Ready(_)));
    assert!(refused(&served.ask(Request::Batch(vec![packet([127, 0, 0, 2])]))).contains("not one of its addresses"));
    assert!(refused(&served.ask(Request::Batch(vec![packet([127, 0, 0, 1]); 1025]))).contains("1024 in a batch"));
    assert_eq!(served.ask(Request::BatchProgress), AgentReply::BatchProgress(BatchProgress::default()));
    assert_eq!(served.ask(Request::Absorbed), AgentReply::Absorbed(Taken::default()));
    assert!(served.end().is_ok());
}

#[test]
fn from_a_host_in_between_nothing_is_sent_and_the_time_is_told() {
    let Request::Watch(pair) = watch() else { panic!("a watch") };
    let mut served = serve(fake, None);
    let between = WatchRequest { role: HostRole::Router, ..pair };
    assert!(matches!(served.ask(Request::Watch(between)), AgentReply::Ready(_)));
    let order = SendOrder {
        echo: probe_ebpf::Echo::Request,
        id: 1,
        first_seq: 1,
        count: 1,
        interval_ms: 0,
        size: 56,
        nonce: 1,
        wait_ms: 0,
    };
    assert!(refused(&served.ask(Request::Send(order))).contains("sends nothing"));
    assert!(refused(&served.ask(Request::Batch(Vec::new()))).contains("sends nothing"));
    let before = monotonic_ns();
    let AgentReply::Clock(told) = served.ask(Request::Clock) else { panic!("no time") };
    assert!((before..=monotonic_ns()).contains(&told));
    assert!(matches!(served.ask(Request::Finish), AgentReply::Sight(_)));
    assert!(served.end().is_ok());
}

#[test]
fn what_was_not_offered_is_refused() {
    let trouble = Complaint { error: "not root".into(), fix: "sudo".into() };
    let mut served = serve(fake, Some(trouble));
    assert_eq!(refused(&served.ask(watch())), "this agent did not offer to watch");
}

#[test]
fn what_cannot_be_watched_is_told_and_the_session_goes_on() {
    let mut served = serve(blind, None);
    assert_eq!(refused(&served.ask(watch())), "no eyes");
    assert!(refused(&served.ask(Request::Look)).contains("not watching"));
    assert!(served.end().is_ok());
}

#[test]
fn an_endless_line_ends_the_session() {
    let mut served = serve(fake, None);
    // The agent may end before all is written.
    let _ = served.to.write_all(&vec![b'x'; MAX_REQUEST_BYTES + 1]);
    assert!(matches!(served.end(), Err(AgentError::Garbage(FrameError::TooLong { .. }))));
}

#[test]
fn a_sight_that_is_too_long_loses_drops_and_says_so() {
    let drop = crate::model::trace::Drop {
        time_ns: 1,
        probe: None,
        leg: probe_ebpf::Echo::Request,
        id: 1,
        seq: 1,
        reason: "R".repeat(1000),
        function: String::new(),
        stack: Vec::new(),
        interface: None,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        frame: crate::model::trace::FrameFacts::default(),
    };
    let ours = crate::model::trace::Drop { probe: Some(1), ..drop.clone() };
    let mut drops = vec![drop; 9000];
    drops.push(ours.clone());
    let sight = HostTrace { drops, ..HostTrace::default() };
    let line = fit(Numbered { number: 1, message: AgentReply::Sight(Box::new(sight)) });
    let AgentReply::Sight(sight) = decode::<AgentReply>(&line).expect("an answer").message else { panic!("no sight") };
    assert_eq!((sight.drops, sight.accounting.events_lost), (vec![ours], 9000));
}

//! Probes from a ping socket, for which the kernel chooses the id and ends each reply in the socket's queue.

use std::{
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use probe_ebpf::{Echo, Family, Kind};
use probe_user::{
    clock::monotonic_ns,
    diagnosis::{self, Evidence, Target, document::Outcome},
    model::{
        attach::Attach,
        request::{HostRole, WatchRequest},
        trace::{Received, SenderTrace, SentProbe},
    },
    traffic::{EchoMessage, prober::payload},
    watch::path_watch,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::noise::{ANY, allow_ping_sockets};
use crate::common::{
    self,
    net::{A4, B4, Pair},
};

const NONCE: u64 = 0x0915_0915_0915_0915;
const PROBES: u16 = 1024;

#[test]
fn a_ping_socket_is_read_to_the_last_reply_and_nothing_is_accused() {
    if !common::is_root("a_ping_socket_is_read_to_the_last_reply_and_nothing_is_accused") {
        return;
    }
    let pair = Pair::new();
    allow_ping_sockets(&pair.a);
    let evidence = pair.a.run(run).expect("inside");
    let diagnosis = diagnosis::diagnose(&evidence);
    assert!(diagnosis.stops.is_empty(), "{:#?}", diagnosis.stops);
    assert_eq!((diagnosis.sent, diagnosis.answered), (usize::from(PROBES), usize::from(PROBES)));
    // The kernel's id for the socket is the one that was sent.
    assert_eq!((diagnosis.verdict.outcome, &diagnosis.alterations), (Outcome::Delivered, &Vec::new()));
    assert_eq!(diagnosis.accounting.events_lost, 0);
}

/// Sends and reads one after the other in the calling thread's namespace, watched.
fn run() -> Evidence {
    let request = WatchRequest {
        nonce: NONCE,
        id: 0,
        probes: PROBES,
        local: A4.into(),
        remote: B4.into(),
        interface: Some("va".to_owned()),
        role: HostRole::Sender,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests: probe_user::model::request::RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    };
    let mut watch = path_watch::start(&request).expect("root may");
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).expect("a ping socket");
    socket.bind(&SocketAddr::from((ANY, 0)).into()).expect("an id");
    socket.connect(&SocketAddr::from((B4, 0)).into()).expect("a route");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let id = socket.local_addr().expect("bound").as_socket().expect("an IPv4 address").port();
    let mut sending = SenderTrace::default();
    for probe in 0..PROBES {
        let (sent, received) = echo(&socket, probe, id);
        sending.probes.push(sent);
        sending.received.insert(probe, received);
    }
    let local = watch.finish().expect("it is read");
    Evidence::new(Target { name: B4.to_string(), address: B4.into() }, sending, local)
}

fn echo(socket: &Socket, probe: u16, id: u16) -> (SentProbe, Received) {
    let kind = Kind { family: Family::V4, echo: Echo::Request };
    let request = EchoMessage::new(kind, 0, probe, &payload(probe, NONCE, 56)).bytes_v4();
    let sent_ns = monotonic_ns();
    socket.send(&request).expect("sent");
    let mut reply = [MaybeUninit::uninit(); 128];
    assert_eq!(socket.recv(&mut reply).expect("a reply"), request.len());
    let from: IpAddr = B4.into();
    let received =
        Received { time_ns: monotonic_ns(), from, id, ttl: 64, times: 1, altered: None, bad_checksum: false };
    (SentProbe { probe, id, seq: probe, sent_ns, errno: None }, received)
}

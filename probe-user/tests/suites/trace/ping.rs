//! Probes: echo requests whose payload starts with a mark.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use probe_ebpf::{
    Echo, Family, Mark,
    contract::journey::{MAGIC, MARK_BYTES},
};
use probe_user::{
    lab::{LabHost, Topology},
    traffic::{Sender, Settings},
};
use socket2::{Domain, Protocol, Socket, Type};

/// How long anything may take that happens at all.
const LIMIT: Duration = Duration::from_secs(3);

/// The payload of a probe, of `length` bytes.
pub(crate) fn payload(nonce: u64, probe: u16, length: usize) -> Vec<u8> {
    let mark = Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: nonce.to_be_bytes() };
    let mut payload = bytemuck::bytes_of(&mark).to_vec();
    payload.resize(length.max(MARK_BYTES), 0);
    payload
}

/// Sends echo packets as `settings` has them from `host`, each with what the kernel answered.
pub(crate) fn send(
    lab: &Topology,
    host: LabHost,
    settings: &Settings,
    id: u16,
    payloads: &[Vec<u8>],
) -> Vec<Result<(), Errno>> {
    let inside = || {
        let mut sender = Sender::open(settings).expect("a sender");
        let sent = (1..).zip(payloads).map(|(seq, payload)| sender.send(id, seq, payload));
        sent.map(|sent| sent.map_err(|refused| refused.errno)).collect()
    };
    lab.netns(host).run(inside).expect("inside")
}

/// Echo requests to `to`.
pub(crate) fn request(to: IpAddr) -> Settings {
    Settings::new(Echo::Request, SocketAddr::new(to, 0))
}

/// A raw socket that is given a copy of every echo reply that reaches `host`.
pub(crate) fn listener(lab: &Topology, host: LabHost, family: Family) -> Socket {
    let open = || match family {
        Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
    };
    lab.netns(host).run(open).expect("inside").expect("a raw socket")
}

/// Waits until `there` says so; says whether it did.
pub(crate) fn wait(mut there: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !there() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Waits for what must not happen.
pub(crate) fn settle() {
    thread::sleep(Duration::from_millis(100));
}

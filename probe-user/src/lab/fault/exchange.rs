//! A plain ping over the lab, from sockets alone: to see that the lab is healthy, and that a fault is in force.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family, Kind};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Case, Outcome, Probe, error::FaultError};
use crate::{
    lab::{Netns, Topology, plan::LabHost},
    traffic::{Fragmentation, Sender, Settings, packet::counting_payload},
};

/// Payload bytes if nothing else is asked for: those of `ping`.
const PAYLOAD: u16 = 56;

/// How long answers may take if they are expected; some faults hold them back on purpose.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for answers that must not come; in the lab one takes less than a millisecond.
const SILENCE: Duration = Duration::from_millis(40);

/// How many packets show whether a fault is in force.
const COUNT: u32 = 4;

/// The result of sending some echo packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The id that they had.
    pub id: u16,
    /// How many were to be sent.
    pub wanted: u32,
    /// Why the kernel refused some, or the socket could not be made.
    pub refused: Vec<String>,
    /// The sequence numbers, from 1, of the requests that were answered, in the order of the answers, each once. For
    /// unsolicited replies: of those that arrived.
    pub answered: Vec<u16>,
}

impl Exchange {
    /// Returns how the exchange would end as a diagnosis.
    pub fn outcome(&self) -> Outcome {
        match self.answered.len() {
            0 => Outcome::Stopped,
            answered if answered < self.wanted as usize => Outcome::Lossy,
            _ => Outcome::Delivered,
        }
    }

    fn sentence(&self) -> String {
        let refused = self.refused.first().map(|why| format!(", {why}")).unwrap_or_default();
        format!("{} of {} packets came back{refused}", self.answered.len(), self.wanted)
    }
}

/// Where a ping is sent, where its answers are read, and its target.
#[derive(Clone, Copy, Debug)]
pub(super) struct PingWay<'a> {
    /// Where it is sent.
    pub(super) from: &'a Netns,
    /// Where its answers are read.
    pub(super) heard_in: &'a Netns,
    /// Its target.
    pub(super) target: IpAddr,
}

impl<'a> PingWay<'a> {
    /// Returns the way from A to B.
    fn over(lab: &'a Topology, family: Family, probe: &Probe) -> Self {
        let at = if probe.reply_only { LabHost::B } else { LabHost::A };
        Self { from: lab.netns(LabHost::A), heard_in: lab.netns(at), target: LabHost::B.address(family) }
    }

    fn family(&self) -> Family {
        if self.target.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Sends `count` echo packets like `probe` from A to B at once, and waits for the outcome.
///
/// # Errors
/// [`FaultError::System`] if the receiving socket cannot be opened.
pub fn ping(lab: &Topology, family: Family, probe: &Probe, count: u32) -> Result<Exchange, FaultError> {
    exchange(&PingWay::over(lab, family, probe), probe, count, SILENCE)
}

/// Checks that the lab answers before anything is broken. Every neighbour is known afterwards.
pub(super) fn expect_healthy(lab: &Topology, family: Family) -> Result<(), FaultError> {
    healthy(&PingWay::over(lab, family, &Probe::PLAIN))
}

/// Checks that all that is sent on `way` is answered.
pub(super) fn healthy(way: &PingWay<'_>) -> Result<(), FaultError> {
    let seen = exchange(way, &Probe::PLAIN, 2, PATIENCE)?;
    if seen.outcome() == Outcome::Delivered { Ok(()) } else { Err(FaultError::NotHealthy { what: seen.sentence() }) }
}

/// Checks that a broken lab delivers as much as `case` says.
///
/// # Errors
/// [`FaultError::NotInForce`] if it delivers more or less.
pub fn expect_in_force(lab: &Topology, case: &Case) -> Result<Exchange, FaultError> {
    let probe = &case.fault.probe;
    in_force(&PingWay::over(lab, case.family, probe), probe, case.fault.expected.outcomes)
}

/// Checks that packets like `probe` end on `way` in one of `outcomes`.
pub(super) fn in_force(way: &PingWay<'_>, probe: &Probe, outcomes: &[Outcome]) -> Result<Exchange, FaultError> {
    let fits = |outcome| {
        outcomes.contains(&outcome) || (outcome == Outcome::Delivered && outcomes.contains(&Outcome::Altered))
    };
    let patience = if fits(Outcome::Delivered) { PATIENCE } else { SILENCE };
    let seen = exchange(way, probe, COUNT, patience)?;
    if fits(seen.outcome()) { Ok(seen) } else { Err(FaultError::NotInForce { what: seen.sentence() }) }
}

fn exchange(way: &PingWay<'_>, probe: &Probe, count: u32, wait: Duration) -> Result<Exchange, FaultError> {
    let family = way.family();
    let sent = if probe.reply_only { Echo::Reply } else { Echo::Request };
    let listening = || listen(family, probe);
    let listener = way.heard_in.run(listening)?.map_err(FaultError::system("listen for replies in the lab"))?;
    let id = probe.id.unwrap_or_else(fresh_id);
    let settings = settings(way.target, probe, sent);
    let size = probe.size.unwrap_or(PAYLOAD);
    let refused = way.from.run(|| send(&settings, id, size, count))?;
    let wanted = Wanted { kind: Kind { family, echo: Echo::Reply }, id, size, count };
    let answered = wanted.collect(&listener, wait).map_err(FaultError::system("read replies in the lab"))?;
    Ok(Exchange { id, wanted: count, refused, answered })
}

fn settings(target: IpAddr, probe: &Probe, echo: Echo) -> Settings {
    let fragmentation = if probe.dont_fragment { Fragmentation::Forbidden } else { Fragmentation::Allowed };
    let family = if target.is_ipv4() { Family::V4 } else { Family::V6 };
    let target = SocketAddr::new(target, 0);
    Settings { ttl: probe.ttl, source: probe.source(family), fragmentation, ..Settings::new(echo, target) }
}

/// Sends packets, and returns why some were refused.
fn send(settings: &Settings, id: u16, size: u16, count: u32) -> Vec<String> {
    let mut sender = match Sender::open(settings) {
        Ok(sender) => sender,
        Err(error) => return vec![error.to_string()],
    };
    let payload = counting_payload(size.into());
    let seqs = (1..=u16::MAX).take(count as usize);
    seqs.filter_map(|seq| sender.send(id, seq, &payload).err()).map(|refused| refused.errno.to_string()).collect()
}

fn listen(family: Family, probe: &Probe) -> io::Result<Socket> {
    let socket = match family {
        Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
    }?;
    if let Some(trouble) = probe.socket {
        trouble.put_on(&socket)?;
    }
    Ok(socket)
}

/// Which packets are waited for.
struct Wanted {
    kind: Kind,
    id: u16,
    size: u16,
    count: u32,
}

impl Wanted {
    /// Returns the sequence numbers of those that arrive within `wait`, in their order, each once.
    fn collect(&self, socket: &Socket, wait: Duration) -> io::Result<Vec<u16>> {
        let deadline = Instant::now() + wait;
        let mut seqs = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 65_536];
        while seqs.len() < self.count as usize {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    // SAFETY: the kernel has written the first `length` bytes, and `MaybeUninit<u8>` has the layout of u8.
                    let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
                    seqs.extend(self.seq_of(packet).filter(|seq| !seqs.contains(seq)));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(seqs)
    }

    /// Returns the sequence number of `packet`, if it belongs to this exchange. Raw IPv4 sockets also deliver the IP
    /// header.
    fn seq_of(&self, packet: &[u8]) -> Option<u16> {
        let header = match self.kind.family {
            Family::V4 => usize::from(packet.first()? & 15) * 4,
            Family::V6 => 0,
        };
        let message = packet.get(header..)?;
        let number = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let ours = *message.first()? == self.kind.icmp_type()
            && number(4)? == self.id
            && message.len() == usize::from(self.size) + 8;
        ours.then(|| number(6))?
    }
}

/// Returns an id that most likely nobody else uses.
pub(super) fn fresh_id() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    let [low, high, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    u16::from_ne_bytes([low, high]).max(1)
}

/// Sends `count` requests to `target` in this thread's namespace, pausing for `pause` after each, until `stop` is set.
pub(super) fn keep_pinging(target: IpAddr, id: u16, size: u16, count: u32, pause: impl Fn() -> bool) {
    let settings = Settings::new(Echo::Request, SocketAddr::new(target, 0));
    let Ok(mut sender) = Sender::open(&settings) else { return };
    let payload = counting_payload(size.into());
    for seq in (1..=u16::MAX).cycle().take(count as usize) {
        // Refusals are as good as drops for what is only noise.
        let _ = sender.send(id, seq, &payload);
        if pause() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_the_probes_count() {
        let kind = Kind { family: Family::V6, echo: Echo::Reply };
        let wanted = Wanted { kind, id: 0x0102, size: 2, count: 1 };
        assert_eq!(wanted.seq_of(&[129, 0, 0, 0, 1, 2, 0, 7, 9, 9]), Some(7));
        assert_eq!(wanted.seq_of(&[128, 0, 0, 0, 1, 2, 0, 7, 9, 9]), None, "a request");
        assert_eq!(wanted.seq_of(&[129, 0, 0, 0, 1, 3, 0, 7, 9, 9]), None, "another id");
        assert_eq!(wanted.seq_of(&[129, 0, 0, 0, 1, 2, 0, 7, 9]), None, "another length");
        assert_eq!(wanted.seq_of(&[]), None);
    }

    #[test]
    fn what_came_back_says_how_it_ended() {
        let seen = |answered| Exchange { id: 1, wanted: 4, refused: Vec::new(), answered: (1..=answered).collect() };
        assert_eq!(
            [0, 1, 4].map(|answered| seen(answered).outcome()),
            [Outcome::Stopped, Outcome::Lossy, Outcome::Delivered]
        );
    }
}

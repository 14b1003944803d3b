//! Sends echo messages from this host: raw ICMP sockets, and ping sockets without the privilege for those.

mod error;
mod icmp_socket;
mod open;
pub mod program;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::socket::getsockopt};
use probe_ebpf::{Echo, Family, Kind};
use serde::{Deserialize, Serialize};
use socket2::{SockAddr, Socket};

pub use error::SenderError;
pub(super) use open::receive_nothing;
pub use program::ProgramSocket;

use super::{
    cause::Refused,
    options::{MemoryInfo, SEND_BUFFER, WRITE_ALLOCATED},
    packet::EchoMessage,
    returned::{self, ErrorOrigin, Queued, Returned},
    target::family_of,
};
use crate::host::identity::Identity;

/// What all packets of a sender have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Request or reply.
    pub echo: Echo,
    /// The target; the port is ignored, the scope id of an IPv6 link-local address is not.
    pub target: SocketAddr,
    /// The ICMP code.
    pub code: u8,
    /// The source address, one of this host's; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// Sends out of this interface, whatever the route says.
    pub interface: Option<String>,
    /// TTL or hop limit; `None`: the kernel's default.
    pub ttl: Option<u8>,
    /// The DSCP value, 0 to 63.
    pub dscp: u8,
    /// The two bits below it, of congestion notification.
    pub ecn: u8,
    /// The firewall mark of its packets on this host (`SO_MARK`), which rules and routes can match.
    pub mark: Option<u32>,
    /// Whether packets may be fragmented.
    pub fragmentation: Fragmentation,
    /// The id that packets must have if the kernel writes it (see [`SocketType::Ping`]); `None`: any.
    pub id: Option<u16>,
    /// What a program like `ping` would ask of its socket, which then receives replies too; `None`: the socket only
    /// sends.
    pub program: Option<ProgramSocket>,
    /// Whom the socket is opened as; `None`: this process.
    pub identity: Option<Arc<Identity>>,
}

impl Settings {
    /// Returns settings for packets to `target` with code 0, and kernel defaults for all else.
    pub fn new(echo: Echo, target: SocketAddr) -> Self {
        Self {
            echo,
            target,
            code: 0,
            source: None,
            interface: None,
            ttl: None,
            dscp: 0,
            ecn: 0,
            mark: None,
            fragmentation: Fragmentation::Allowed,
            id: None,
            program: None,
            identity: None,
        }
    }

    /// Returns the IP version and type of the packets.
    pub fn kind(&self) -> Kind {
        Kind { family: family_of(self.target.ip()), echo: self.echo }
    }
}

/// Whether packets may be fragmented, here or on the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fragmentation {
    /// They may be: IPv4's "don't fragment" bit is clear.
    #[default]
    Allowed,
    /// They must not be: the bit is set, and a packet longer than the interface's MTU is refused. The kernel's path MTU
    /// cache is ignored, so that packets show what the path does now.
    Forbidden,
    /// As this host does it for every program that asks for nothing (`net.ipv4.ip_no_pmtu_disc`).
    AsHost,
    /// Not on the path, with the kernel's path MTU cache; this host may (`IP_PMTUDISC_WANT`).
    OnThisHost,
    /// Nowhere, with the kernel's path MTU cache (`IP_PMTUDISC_DO`).
    Nowhere,
}

/// The kind of socket that carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// A raw socket (`raw(7)`, needs `CAP_NET_RAW`): every field of the message is the caller's.
    Raw,
    /// A ping socket (`icmp(7)`, `net.ipv4.ping_group_range`): only requests with code 0, and the kernel writes the id.
    Ping {
        /// The id that the kernel writes.
        id: u16,
    },
}

/// How often a send is retried because an earlier packet failed. Each retry consumes an error that had arrived, so more than
/// one means that errors arrive as fast as packets leave.
const ATTEMPTS: usize = 16;

/// How often a sender checks whether there is room in the send buffer again.
const ROOM_CHECK: Duration = Duration::from_millis(1);

/// A socket that sends echo messages to one target. It lives in the network namespace of the thread that opened it,
/// whichever thread uses it; it blocks, for [`Sender::PATIENCE`] at most, and receives only what [`Settings::program`]
/// asks for.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    address: SockAddr,
    kind: Kind,
    code: u8,
    way: SocketType,
    buffer: Vec<u8>,
    ids: BTreeSet<u16>,
    returned: BTreeMap<Returned, u64>,
}

impl Sender {
    /// How long a send waits for room in the socket's send buffer before it is refused with `EAGAIN`.
    pub const PATIENCE: Duration = Duration::from_millis(250);

    /// Opens a raw socket; without permission for one, a ping socket if that can send the same.
    pub fn open(settings: &Settings) -> Result<Self, SenderError> {
        let (socket, way) = open::socket(settings)?;
        let address = open::address(settings);
        if let Some(program) = &settings.program {
            program::connect(&socket, &address, program)?;
        }
        Ok(Self {
            socket,
            address,
            kind: settings.kind(),
            code: settings.code,
            way,
            buffer: Vec::new(),
            ids: BTreeSet::new(),
            returned: BTreeMap::new(),
        })
    }

    /// Returns the IP version and type of its packets.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns which kind of socket it has, and which id that socket writes.
    pub fn way(&self) -> SocketType {
        self.way
    }

    /// Hands one message to the kernel. On [`SocketType::Ping`] it goes out with the socket's id, whatever `id` says.
    ///
    /// The error is about this packet: errors that arrived for earlier ones are kept for [`Sender::returned`], and the send
    /// is retried.
    pub fn send(&mut self, id: u16, seq: u16, payload: &[u8]) -> Result<(), Refused> {
        let id = match self.way {
            SocketType::Raw => id,
            SocketType::Ping { id } => id,
        };
        let message = EchoMessage { kind: self.kind, code: self.code, id, seq, payload };
        match self.kind.family {
            Family::V4 => message.write_v4(&mut self.buffer),
            // The kernel knows the source address that the checksum covers, and fills it in.
            Family::V6 => message.write_unsealed(&mut self.buffer),
        }
        self.ids.insert(id);
        let mut refused = Refused { errno: Errno::EAGAIN, mtu: None };
        for _ in 0..ATTEMPTS {
            let Err(error) = self.hand_over() else { return Ok(()) };
            let queued = returned::take(&self.socket);
            self.keep(&queued);
            refused = Refused { errno: errno(&error), mtu: mtu(&queued) };
            if !may_be_an_earlier_packets(refused.errno, &queued) {
                break;
            }
        }
        Err(refused)
    }

    /// Returns the ICMP errors that have arrived so far for packets of this sender, with how often each did.
    pub fn returned(&mut self) -> &BTreeMap<Returned, u64> {
        let queued = returned::take(&self.socket);
        self.keep(&queued);
        &self.returned
    }

    /// Makes one send call that waits for room in the send buffer. Only ping sockets wait by themselves: raw ones return
    /// `ENOBUFS` at once, as they do when the device drops the packet.
    fn hand_over(&self) -> io::Result<usize> {
        let mut give_up = None;
        loop {
            match self.socket.send_to(&self.buffer, &self.address) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if errno(&error) == Errno::ENOBUFS && self.is_full() => {}
                result => return result,
            }
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + Self::PATIENCE);
            if Instant::now() > give_up {
                return Err(io::Error::from_raw_os_error(Errno::EAGAIN as i32));
            }
            thread::sleep(ROOM_CHECK);
        }
    }

    /// Reports whether packets that the device has not yet sent fill the send buffer, or nearly: some may have left since.
    /// Packets that are not the first of a message may fill it twice (`__ip_append_data` in `net/ipv4/ip_output.c`).
    fn is_full(&self) -> bool {
        getsockopt(&self.socket, MemoryInfo)
            .is_ok_and(|memory| u64::from(memory[WRITE_ALLOCATED]) * 2 > u64::from(memory[SEND_BUFFER]) * 3)
    }

    /// Counts the errors about packets of this sender; a raw socket gets those about other programs' packets too.
    fn keep(&mut self, queued: &[Queued]) {
        for error in queued {
            let ours = error
                .quoted
                .is_some_and(|(icmp_type, id)| icmp_type == self.kind.icmp_type() && self.ids.contains(&id));
            if let (true, ErrorOrigin::Icmp(returned)) = (ours, error.origin) {
                *self.returned.entry(returned).or_default() += 1;
            }
        }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Returns the MTU that the kernel reported along with `EMSGSIZE`.
fn mtu(queued: &[Queued]) -> Option<u32> {
    queued.iter().find_map(|error| match error.origin {
        ErrorOrigin::Local { errno: Errno::EMSGSIZE, info } => Some(info),
        _ => None,
    })
}

/// Reports whether `errno` may be what an ICMP error left pending at the socket: one had arrived, and the errno is none of
/// those that only the send path itself returns (`icmp_err_convert` in `net/ipv4/icmp.c`, `icmpv6_err_convert`).
pub(super) fn may_be_an_earlier_packets(errno: Errno, queued: &[Queued]) -> bool {
    let only_local = [Errno::EPERM, Errno::ENOBUFS, Errno::EINVAL, Errno::EAGAIN, Errno::ENODEV, Errno::EADDRNOTAVAIL];
    !only_local.contains(&errno) && queued.iter().any(|error| matches!(error.origin, ErrorOrigin::Icmp(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREACHABLE: Queued = Queued {
        origin: ErrorOrigin::Icmp(Returned { from: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), icmp_type: 3, code: 1 }),
        quoted: Some((8, 43)),
    };
    const TOO_LONG: Queued = Queued { origin: ErrorOrigin::Local { errno: Errno::EMSGSIZE, info: 1400 }, quoted: None };

    #[test]
    fn an_error_that_arrived_before_is_not_this_packets() {
        assert!(may_be_an_earlier_packets(Errno::EHOSTUNREACH, &[UNREACHABLE]));
        assert!(!may_be_an_earlier_packets(Errno::EHOSTUNREACH, &[]));
        assert!(!may_be_an_earlier_packets(Errno::EMSGSIZE, &[TOO_LONG]));
    }

    #[test]
    fn a_firewalls_refusal_is_this_packets_even_while_errors_arrive() {
        assert!(!may_be_an_earlier_packets(Errno::EPERM, &[UNREACHABLE]));
    }

    #[test]
    fn the_mtu_comes_from_the_local_error() {
        assert_eq!(mtu(&[UNREACHABLE, TOO_LONG]), Some(1400));
        assert_eq!(mtu(&[UNREACHABLE]), None);
    }
}

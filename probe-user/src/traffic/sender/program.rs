//! The socket that a program like `ping` would have: it sends, and it receives the replies that the program's would.

use std::{io, net::SocketAddr, thread, time::Duration};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use probe_ebpf::{Echo, Family};
use socket2::{SockAddr, SockFilter, Socket, Type};

use super::{
    SenderError, Settings,
    icmp_socket::{errno, new_socket, refused, setup, unopened},
};
use crate::host::identity::SocketRights;
use crate::traffic::options::{Debug, FlowInfoSend, FlowLabel, IcmpFilter, Icmpv6Filter, Ipv4Options};

/// What is asked of the socket besides what every sender has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramSocket {
    /// Whether it is a raw socket, though a ping socket could do.
    pub raw: bool,
    /// Whether it may send to broadcast addresses.
    pub broadcast: bool,
    /// Whether multicast packets that it sends are not looped back to this host.
    pub no_loop: bool,
    /// The IPv6 flow label of its packets.
    pub flow_label: Option<u32>,
    /// Whether it bypasses all gateways and sends only to hosts on a directly connected network (`SO_DONTROUTE`).
    pub dont_route: bool,
    /// Whether it asks for `SO_DEBUG`, if it may.
    pub debug: bool,
    /// Whether it is connected to the target, so that it does not receive replies from another address.
    pub connected: bool,
    /// Bytes of its send buffer (`SO_SNDBUF`).
    pub send_buffer: Option<u32>,
    /// Options of the IPv4 header.
    pub options: Option<[u8; 40]>,
}

/// Room for the replies of a whole run, of any size that usual links allow.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Every ICMP type except the echo reply, for `ICMP_FILTER`.
const ALL_BUT_REPLIES: u32 = !1;

/// Every `ICMPv6` type except the echo reply (129), for `ICMPV6_FILTER`.
const ALL_BUT_REPLIES_V6: [u32; 8] = {
    let mut bits = [u32::MAX; 8];
    bits[129 / 32] &= !(1 << (129 % 32));
    bits
};

/// Opens a ping socket if the kernel lets this user have one, as `ping` tries first, else a raw one; returns whether it
/// is raw. A ping socket sends no replies, no code but 0, and no id 0.
pub(super) fn open(settings: &Settings) -> Result<(Socket, bool), SenderError> {
    let raw = settings.program.as_ref().is_some_and(|program| program.raw);
    let plain = !raw && settings.echo == Echo::Request && settings.code == 0 && settings.id != Some(0);
    let mut ping = Errno::EACCES;
    if plain {
        match new_socket(settings, Type::DGRAM, SocketRights::Own) {
            Ok(socket) => return Ok((socket, false)),
            Err(error) => match errno(&error) {
                Some(errno @ (Errno::EACCES | Errno::EPERM | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT)) => {
                    ping = errno;
                }
                _ => return Err(unopened(settings, error)),
            },
        }
    }
    // One that has to be raw is probe's own wish, and no program's.
    let rights = if raw { SocketRights::Raw } else { SocketRights::Own };
    let socket = new_socket(settings, Type::RAW, rights).map_err(|error| match errno(&error) {
        Some(Errno::EACCES | Errno::EPERM) if plain => refused(settings, ping),
        Some(Errno::EACCES | Errno::EPERM) => SenderError::NotPrivileged { what: "a raw socket" },
        _ => unopened(settings, error),
    })?;
    Ok((socket, true))
}

/// Sets the socket up so that it receives replies with the run's id and nothing else, each with its TTL.
pub(super) fn listen(socket: &Socket, settings: &Settings, is_raw: bool) -> io::Result<()> {
    match (settings.kind().family, is_raw) {
        (Family::V4, true) => setsockopt(socket, IcmpFilter, &ALL_BUT_REPLIES)?,
        (Family::V6, true) => setsockopt(socket, Icmpv6Filter, &ALL_BUT_REPLIES_V6)?,
        (Family::V4, false) => setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?,
        (Family::V6, false) => {}
    }
    if settings.kind().family == Family::V6 {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
    }
    if let Some(id) = settings.id.filter(|_| is_raw) {
        socket.attach_filter(&only_id(settings.kind().family, id))?;
    }
    // Only root of the machine's own user namespace can exceed the host's limit.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    Ok(())
}

/// Keeps what has this id, as `ping` does: classic BPF. IPv4 comes with its header, whose length goes into X.
fn only_id(family: Family, id: u16) -> [SockFilter; 5] {
    const LOAD_X_HEADER: u16 = 0xb1;
    const SET_X: u16 = 0x01;
    const LOAD_HALF_X: u16 = 0x48;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let start = match family {
        Family::V4 => SockFilter::new(LOAD_X_HEADER, 0, 0, 0),
        Family::V6 => SockFilter::new(SET_X, 0, 0, 0),
    };
    [
        start,
        SockFilter::new(LOAD_HALF_X, 0, 0, 4),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(id)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Sets what else is asked of it.
pub(super) fn set(socket: &Socket, settings: &Settings, program: &ProgramSocket) -> Result<(), SenderError> {
    let family = settings.kind().family;
    if program.no_loop {
        match family {
            Family::V4 => socket.set_multicast_loop_v4(false),
            Family::V6 => socket.set_multicast_loop_v6(false),
        }
        .map_err(setup("turn off multicast loopback"))?;
    }
    if let Some(bytes) = program.send_buffer {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        socket.set_send_buffer_size(bytes).map_err(setup("size the send buffer"))?;
    }
    if program.debug {
        // As in ping: without the privilege it is left out.
        let _ = setsockopt(socket, Debug, &true);
    }
    if program.dont_route {
        setsockopt(socket, sockopt::DontRoute, &true).map_err(setup("bypass all gateways"))?;
    }
    match (family, program.options, program.flow_label) {
        (Family::V4, Some(options), _) => {
            setsockopt(socket, Ipv4Options, &options).map_err(setup("set the options of the IPv4 header"))?;
        }
        (Family::V6, _, Some(label)) => set_flow_label(socket, settings.target, label)
            .map_err(setup("take the flow label, which another socket may have"))?,
        _ => {}
    }
    Ok(())
}

/// Connects it, if that is asked for: only now, since from here on it receives nothing from other sources.
pub(super) fn connect(socket: &Socket, address: &SockAddr, program: &ProgramSocket) -> Result<(), SenderError> {
    if !program.connected {
        return Ok(());
    }
    socket.connect(address).map_err(setup("connect the socket"))
}

/// How long to wait for a label: longer than the kernel keeps one for its last holder (`FL_MIN_LINGER` in
/// `net/ipv6/ip6_flowlabel.c`).
const LINGER: Duration = Duration::from_millis(6500);

/// How many times a label is asked for.
const TRIES: u32 = 3;

/// Takes a flow label for packets to `target` (`struct in6_flowlabel_req` of `linux/in6.h`).
fn set_flow_label(socket: &Socket, target: SocketAddr, label: u32) -> nix::Result<()> {
    const EXCLUSIVE: u8 = 1;
    const CREATE: u16 = 1;
    let SocketAddr::V6(target) = target else { return Ok(()) };
    let mut request = [0; 32];
    request[..16].copy_from_slice(&target.ip().octets());
    request[16..20].copy_from_slice(&label.to_be_bytes());
    request[21] = EXCLUSIVE;
    request[22..24].copy_from_slice(&CREATE.to_ne_bytes());
    let mut tries = 0;
    loop {
        tries += 1;
        match setsockopt(socket, FlowLabel, &request) {
            // Another socket had it a moment ago. Each try makes the kernel keep it for as long again.
            Err(Errno::EPERM) if tries < TRIES => thread::sleep(LINGER),
            result => break result?,
        }
    }
    setsockopt(socket, FlowInfoSend, &true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter on bytes as the kernel would; 0: dropped.
    fn run(filter: &[SockFilter], bytes: &[u8]) -> u32 {
        let (mut x, mut a, mut at) = (0_usize, 0_u32, 0_usize);
        loop {
            // SAFETY: a SockFilter is a `struct sock_filter` in its only field.
            let raw: nix::libc::sock_filter = unsafe { std::mem::transmute_copy(&filter[at]) };
            at += 1;
            match raw.code {
                0xb1 => x = usize::from(bytes[raw.k as usize] & 0xf) * 4,
                0x01 => x = raw.k as usize,
                0x48 => {
                    let from = x + raw.k as usize;
                    a = u32::from(u16::from_be_bytes([bytes[from], bytes[from + 1]]));
                }
                0x15 => at += usize::from(if a == raw.k { raw.jt } else { raw.jf }),
                0x06 => return raw.k,
                other => panic!("an opcode that was not meant: {other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_keeps_what_has_the_id_behind_any_ip_header_and_drops_the_rest() {
        for (family, header) in [(Family::V4, 20), (Family::V4, 24), (Family::V6, 0)] {
            let mut bytes = vec![0; header + 8];
            bytes[0] = u8::try_from(header / 4).expect("small") | 0x40;
            bytes[header + 4..header + 6].copy_from_slice(&[0x12, 0x34]);
            assert_ne!(run(&only_id(family, 0x1234), &bytes), 0, "{family:?} {header}");
            assert_eq!(run(&only_id(family, 0x1235), &bytes), 0, "{family:?} {header}");
        }
    }
}

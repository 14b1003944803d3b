//! Sends one netlink request and collects all its replies, without a runtime.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use tracing::{debug, warn};

/// A family of netlink messages.
pub(crate) trait Messages: NetlinkSerializable + NetlinkDeserializable + Clone {
    /// Its protocol (`NETLINK_…`).
    const PROTOCOL: isize;
}

impl Messages for RouteNetlinkMessage {
    const PROTOCOL: isize = NETLINK_ROUTE;
}

impl Messages for NetfilterMessage {
    const PROTOCOL: isize = NETLINK_NETFILTER;
}

/// How often a dump is repeated because the list changed while it was read.
const ATTEMPTS: usize = 4;

/// Returns every message that answers `request`, in the kernel's order.
///
/// # Errors
/// The error of the socket or the kernel. A message that cannot be parsed is left out, with a warning.
pub(crate) fn dump<M: Messages>(request: &M) -> io::Result<Vec<M>> {
    let mut answer = ask(request.clone(), NLM_F_DUMP | NLM_F_REQUEST)?;
    for _ in 1..ATTEMPTS {
        if !answer.interrupted {
            break;
        }
        debug!("the list changed while it was read");
        answer = ask(request.clone(), NLM_F_DUMP | NLM_F_REQUEST)?;
    }
    Ok(answer.messages)
}

/// Returns the reply to `request`, which is about one object.
///
/// # Errors
/// The error of the socket or the kernel.
pub(crate) fn get<M: Messages>(request: M) -> io::Result<Vec<M>> {
    ask(request, NLM_F_ACK | NLM_F_REQUEST).map(|answer| answer.messages)
}

/// What a dump has returned so far.
struct Answer<M> {
    messages: Vec<M>,
    interrupted: bool,
    done: bool,
}

/// Executes `request`.
///
/// # Errors
/// The error of the socket or the kernel.
pub(crate) fn change(request: RouteNetlinkMessage) -> io::Result<()> {
    ask(request, NLM_F_ACK | NLM_F_REQUEST).map(drop)
}

/// Creates what `request` describes, which must not exist yet.
///
/// # Errors
/// The error of the socket or the kernel.
pub(crate) fn create(request: RouteNetlinkMessage) -> io::Result<()> {
    ask(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_REQUEST).map(drop)
}

fn ask<M: Messages>(request: M, flags: u16) -> io::Result<Answer<M>> {
    let mut socket = Socket::new(M::PROTOCOL)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(request));
    packet.header.flags = flags;
    packet.header.sequence_number = 1;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answer = Answer { messages: Vec::new(), interrupted: false, done: false };
    while !answer.done {
        let (datagram, _) = socket.recv_from_full()?;
        answer.take(&datagram)?;
    }
    Ok(answer)
}

impl<M: Messages> Answer<M> {
    /// Adds the messages of one datagram.
    fn take(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() && !self.done {
            let buffer = NetlinkBuffer::new_checked(&rest).map_err(io::Error::other)?;
            let length = (buffer.length() as usize).next_multiple_of(4).clamp(4, rest.len());
            self.interrupted |= buffer.flags() & NLM_F_DUMP_INTR != 0;
            let (one, after) = rest.split_at(length);
            self.take_one(one)?;
            rest = after;
        }
        Ok(())
    }

    fn take_one(&mut self, bytes: &[u8]) -> io::Result<()> {
        let message = match NetlinkMessage::<M>::deserialize(bytes) {
            Ok(message) => message,
            Err(error) => {
                warn!("skipped a netlink message of this kernel that cannot be parsed: {error}");
                return Ok(());
            }
        };
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => self.messages.push(inner),
            NetlinkPayload::Done(_) => self.done = true,
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            // An error without a number acknowledges a change.
            NetlinkPayload::Error(_) => self.done = true,
            _ => {}
        }
        Ok(())
    }
}

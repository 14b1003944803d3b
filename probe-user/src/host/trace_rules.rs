//! Names the exact rule that drops a probe, by tracing the probes through nftables (`--trace-rules`).
//!
//! A table of probe's own marks them, and the kernel then reports each rule that they meet. The table belongs to the socket
//! that made it (`NFT_TABLE_F_OWNER`, Linux 5.12): the kernel removes it when that socket is closed, however this process
//! ends, so there is never one left to sweep. Rules of iptables-nft are traced too, those of the older iptables are not.

mod event;
mod message;
mod table;
mod text;

use std::{collections::BTreeMap, io};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use super::or_log;
use crate::model::trace::Finding;
use crate::model::{netfilter::TableFamily, request::EchoFlow};
use event::{TraceEnd, TraceEvent, TracedPacket};
use table::TraceTable;

/// `NFNLGRP_NFTRACE` of `include/uapi/linux/netfilter/nfnetlink.h`.
const TRACE_GROUP: u32 = 9;

/// Room for the events between two reads: some hundred probes that meet some ten rules each.
const BUFFER_BYTES: usize = 4 << 20;

/// The prefix of every such table's name.
pub(super) const TABLE: &str = "probe_trace_";

/// A running trace of probes; dropping it ends the trace.
pub struct TraceRules {
    /// Dropping it removes the table.
    _table: TraceTable,
    listener: Socket,
    /// The packets described so far: only the first event of a packet describes it.
    packets: BTreeMap<u32, TracedPacket>,
    ends: BTreeMap<TraceEnd, u64>,
}

impl TraceRules {
    /// Starts tracing the echo packets of `flow` in the calling thread's network namespace, and those with the mark of the run
    /// with this `nonce`, whatever became of their addresses and id.
    ///
    /// # Errors
    /// Why that does not work here, as a clause for the user.
    pub fn begin(flow: &EchoFlow, nonce: u64) -> Result<Self, String> {
        let listener = listen().map_err(|error| why(&error))?;
        let table = TraceTable::make(flow, nonce).map_err(|error| why(&error))?;
        Ok(Self { _table: table, listener, packets: BTreeMap::new(), ends: BTreeMap::new() })
    }

    /// Ends the trace and returns which rules dropped probes. Asks nft for their text, in the calling thread's network
    /// namespace.
    pub fn end(mut self) -> Vec<Finding> {
        if let Err(error) = self.drain() {
            tracing::warn!("some trace events were lost: {error}");
        }
        let mut texts = BTreeMap::new();
        let ends = std::mem::take(&mut self.ends);
        ends.into_iter().map(|(end, packets)| finding(end, packets, &mut texts)).collect()
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.listener.recv_from_full() {
                Ok((datagram, _)) => event::parse(&datagram).into_iter().for_each(|event| self.take(event)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, event: TraceEvent) {
        if let Some(seen) = event.packet {
            self.packets.insert(event.trace, seen);
        }
        let packet = self.packets.get(&event.trace);
        if let (Some(end), Some(packet)) = (event.end, packet) {
            *self.ends.entry(TraceEnd { leg: packet.leg, ..end }).or_default() += 1;
        }
    }
}

fn listen() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    // Above the limit of ordinary sockets; without the privilege the limit stays.
    or_log("receive buffer", setsockopt(&socket, RcvBufForce, &BUFFER_BYTES));
    socket.add_membership(TRACE_GROUP)?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::EPERM | nix::libc::EACCES) => "tracing rules needs CAP_NET_ADMIN".to_owned(),
        Some(nix::libc::EPROTONOSUPPORT | nix::libc::EOPNOTSUPP | nix::libc::EINVAL | nix::libc::ENOENT) => {
            format!("this kernel cannot trace nftables' rules for probe: {error}")
        }
        _ => format!("tracing rules failed: {error}"),
    }
}

/// The listings of tables that were already requested.
type Texts = BTreeMap<(TableFamily, String), String>;

fn finding(end: TraceEnd, packets: u64, texts: &mut Texts) -> Finding {
    let rule = match end.handle {
        None => "policy drop".to_owned(),
        Some(handle) => {
            let place = (end.family, end.table.clone());
            let listing = texts.entry(place).or_insert_with(|| text::list(end.family, &end.table));
            text::rule(listing, &end.chain, handle).unwrap_or_default()
        }
    };
    let TraceEnd { family, table, chain, handle, verdict, leg } = end;
    Finding::Rule { family, table, chain, handle, rule, verdict: verdict.to_owned(), leg, packets }
}

//! A program that answers echo requests with zeros for a payload, in place of the kernel.

use std::{
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use probe_ebpf::{Echo, Family, Kind, packet::ICMP_HEADER};
use probe_user::{lab::Netns, traffic::EchoMessage};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::net::sh;

/// It answers until this is dropped.
pub(super) struct Zeros {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Zeros {
    /// Keeps the kernel of `host` from answering, and answers in its place from here on.
    pub(super) fn at(host: &Netns) -> Self {
        sh(host, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1");
        let stop = Arc::new(AtomicBool::new(false));
        let start = |family| {
            let socket = host.run(|| open(family)).expect("inside");
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    answer(&socket, family);
                }
            })
        };
        let threads = [Family::V4, Family::V6].map(start).into();
        Self { stop, threads }
    }
}

impl Drop for Zeros {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of it shows in the test as a missing answer.
            let _ = thread.join();
        }
    }
}

fn open(family: Family) -> Socket {
    let socket = match family {
        Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
    };
    let socket = socket.expect("root may");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a bound");
    socket
}

/// Answers the next request, if one comes in time.
fn answer(socket: &Socket, family: Family) {
    let mut room = [MaybeUninit::new(0); 2048];
    let Ok((length, mut from)) = socket.recv_from(&mut room) else { return };
    let bytes: Vec<u8> = room[..length]
        .iter()
        .map(|byte| {
            // SAFETY: all of it was written at the start.
            unsafe { byte.assume_init() }
        })
        .collect();
    let start = if family == Family::V4 { usize::from(bytes[0] & 0xf) * 4 } else { 0 };
    let Some(message) = bytes.get(start..).filter(|message| message.len() >= ICMP_HEADER) else { return };
    if message[0] != (Kind { family, echo: Echo::Request }).icmp_type() {
        return;
    }
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let payload = vec![0; message.len() - ICMP_HEADER];
    let reply = EchoMessage::new(Kind { family, echo: Echo::Reply }, word(4), word(6), &payload);
    let mut out = Vec::new();
    match family {
        Family::V4 => reply.write_v4(&mut out),
        Family::V6 => {
            reply.write_unsealed(&mut out);
            // Raw IPv6 sockets take a port for a protocol number.
            if let Some(mut v6) = from.as_socket_ipv6() {
                v6.set_port(0);
                from = v6.into();
            }
        }
    }
    socket.send_to(&out, &from).expect("the way back is there");
}

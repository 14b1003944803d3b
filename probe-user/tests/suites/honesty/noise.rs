//! What goes on beside a diagnosis: other pings, floods, and other pairs of hosts. It ends when it is dropped.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use probe_user::lab::Netns;

use crate::common::{
    net::{A4, B4, Pair, sh},
    run::command,
};

/// Noise that goes on until it is dropped.
#[allow(dead_code, reason = "a pair of namespaces is held, and no more")]
pub(crate) enum Noise {
    Nothing,
    Other(Child),
    Flood(Arc<AtomicBool>, Option<JoinHandle<()>>),
    Many(Vec<Noise>),
    Beside(Box<Noise>, Pair),
}

impl Noise {
    /// Requests to B from another program's raw socket, for 20 seconds at most.
    pub(crate) fn pinging(netns: &Netns, words: &str) -> Self {
        let mut command = command(netns, &format!("send request {B4} -c 4000 -i 0.005 -q {words}"));
        Self::Other(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("probe starts"))
    }

    /// The same from a ping socket of the system's own ping.
    pub(crate) fn system_ping(netns: &Netns, target: &str) -> Self {
        let mut command = netns.command("ping");
        command.args(["-n", "-q", "-i", "0.005", "-c", "4000", target]).stdout(Stdio::null()).stderr(Stdio::null());
        Self::Other(command.spawn().expect("ping is there"))
    }

    /// Datagrams to a port of B on which nobody listens, some 10,000 a second: B's kernel drops each.
    pub(crate) fn flood(pair: &Pair) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let socket = pair.a.run(|| UdpSocket::bind((A4, 0)).expect("a port")).expect("inside");
        let send = move || {
            for number in 0..200_000_u32 {
                // Refusals that come back are no error of the next datagram's.
                let _ = socket.send_to(&[0; 64], (B4, 33_434));
                if number % 10 == 0 {
                    thread::sleep(Duration::from_millis(1));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        };
        Self::Flood(over, Some(thread::spawn(send)))
    }

    /// A second pair of hosts with the same addresses, of which B drops every ping.
    pub(crate) fn other_pair() -> Self {
        let pair = Pair::new();
        drop_requests(&pair.b, "icmp type echo-request");
        let noise = Self::pinging(&pair.a, "-e 0x2bad");
        Self::Beside(Box::new(noise), pair)
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        match self {
            Self::Other(child) => {
                // One that has ended by itself is gone all the same.
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Flood(over, thread) => {
                over.store(true, Ordering::Relaxed);
                if let Some(thread) = thread.take() {
                    thread.join().expect("it does nothing that fails");
                }
            }
            Self::Nothing | Self::Many(_) | Self::Beside(..) => {}
        }
    }
}

/// Has a host drop what matches, in netfilter's input hook.
pub(crate) fn drop_requests(netns: &Netns, what: &str) {
    sh(
        netns,
        &format!(
            "nft 'add table inet t; add chain inet t c {{ type filter hook input priority 0; }}'
             nft 'add rule inet t c {what} drop'"
        ),
    );
}

/// Lets root use ping sockets, as most distributions do.
pub(crate) fn allow_ping_sockets(netns: &Netns) {
    sh(netns, "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range");
}

/// Sends through which the id is the kernel's own choice.
pub(crate) const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

//! Traffic and drops beside the probes, which a diagnosis must not take for theirs. All of it ends by itself.

use probe_ebpf::Echo;
use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use probe_ebpf::Family;

use super::{
    action::Noise,
    error::FaultError,
    exchange,
    site::{FaultSite, On},
    tool,
};
use crate::lab::{Netns, Topology, plan::LabHost};

/// Nobody listens here in a lab.
const CLOSED_PORT: u16 = 33_434;

/// Datagrams of a flood, at most.
const DATAGRAMS: u32 = 100_000;

/// Datagrams between two pauses: at most some 20,000 a second.
const BURST: u32 = 20;

/// Requests of another ping, at most: 20 seconds.
const REQUESTS: u32 = 4_000;

/// Between two requests of another ping.
const INTERVAL: Duration = Duration::from_millis(5);

/// Noise that goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Noisy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The second lab, where the noise is in one.
    other: Option<Topology>,
}

impl Noisy {
    /// Starts the noise.
    pub(super) fn start(lab: &Topology, family: Family, noise: Noise) -> Result<Self, FaultError> {
        let b = LabHost::B.address(family);
        match noise {
            Noise::UdpFlood => {
                Self::spawn(lab.netns(LabHost::B), None, move |stop| flood(SocketAddr::new(b, CLOSED_PORT), stop))
            }
            Noise::Ping { id, size } => Self::spawn(lab.netns(LabHost::A), None, move |stop| {
                exchange::keep_pinging(b, id, size, REQUESTS, || pause(stop));
            }),
            Noise::OtherLab { id } => {
                let other = Topology::build()?;
                let site = FaultSite { family, leg: Echo::Request };
                let rules = "table inet probe_fault { chain input { type filter hook input priority filter; {echo} drop; }\n}\n";
                tool::run(other.netns(site.host(On::Receiver)), "nft", "-f -", &site.fill(rules))?;
                let netns = again(other.netns(LabHost::A))?;
                Self::spawn(&netns, Some(other), move |stop| {
                    exchange::keep_pinging(b, id, 56, REQUESTS, || pause(stop));
                })
            }
        }
    }

    fn spawn(
        netns: &Netns,
        other: Option<Topology>,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self, FaultError> {
        let netns = again(netns)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let inside = move || {
            // A namespace that cannot be entered makes no noise; the check of the case shows whether it matters.
            let _ = netns.run(|| work(&stopped));
        };
        let thread = thread::Builder::new().name("probe-noise".into()).spawn(inside);
        let thread = Some(thread.map_err(FaultError::system("start a thread"))?);
        Ok(Self { stop, thread, other })
    }
}

impl Drop for Noisy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(self.other.take());
    }
}

/// Opens another handle to the same namespace.
fn again(netns: &Netns) -> Result<Netns, FaultError> {
    let handle = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
    Ok(Netns::open(handle.as_ref())?.expect("an open handle names its namespace"))
}

/// Waits for the time between two requests, and returns whether to stop.
fn pause(stop: &AtomicBool) -> bool {
    thread::sleep(INTERVAL);
    stop.load(Ordering::Relaxed)
}

fn flood(target: SocketAddr, stop: &AtomicBool) {
    let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let Ok(socket) = UdpSocket::bind(any) else { return };
    for number in 0..DATAGRAMS {
        // Not connected, so the refusals that come back do not end it.
        let _ = socket.send_to(&[0; 64], target);
        if number % BURST == 0 {
            thread::sleep(Duration::from_millis(1));
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

//! The flood: echo requests from a raw socket that a kernel answers, and the processor time that they take.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    sys::socket::setsockopt,
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use probe_ebpf::{Echo, Family, Kind};
use probe_user::{
    error::Failure,
    traffic::{EchoMessage, options::IcmpFilter},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Sends from this thread's network namespace, on the processor that the thread is on.
pub(crate) struct Flood {
    socket: Socket,
    request: Vec<u8>,
}

impl Flood {
    /// Opens its socket, and keeps this thread where it is.
    pub(crate) fn open(from: Ipv4Addr, to: Ipv4Addr) -> Result<Self, Failure> {
        stay_on_this_processor().map_err(|error| failed(&error))?;
        let socket = Self::socket(from, to).map_err(|error| failed(&error))?;
        let kind = Kind { family: Family::V4, echo: Echo::Request };
        Ok(Self { socket, request: EchoMessage::new(kind, 0x0bec, 1, &[0x5a; 56]).bytes_v4() })
    }

    fn socket(from: Ipv4Addr, to: Ipv4Addr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        // It reads nothing: what is measured is the path, and not a queue that runs over.
        setsockopt(&socket, IcmpFilter, &u32::MAX)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&SocketAddr::from((to, 0)).into())?;
        Ok(socket)
    }

    /// Sends without measuring.
    pub(crate) fn warm_up(&mut self, echoes: u32) -> Result<(), Failure> {
        self.nanoseconds(echoes).map(drop)
    }

    /// Processor time of a round trip in nanoseconds, the mean of so many.
    pub(crate) fn nanoseconds(&mut self, echoes: u32) -> Result<f64, Failure> {
        let start = processor_time().map_err(|error| failed(&error))?;
        for _ in 0..echoes {
            self.socket.send(&self.request).map_err(|error| failed(&error))?;
        }
        let spent = processor_time().map_err(|error| failed(&error))? - start;
        Ok(spent.as_nanos() as f64 / f64::from(echoes))
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(format!("the flood failed: {error}"), "run it as root, on a machine with veth")
}

fn stay_on_this_processor() -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}

fn processor_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

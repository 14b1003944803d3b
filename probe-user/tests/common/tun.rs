//! Interfaces without a link header, whose other end is a file; and a cable between two of them.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd},
    thread::{self, JoinHandle},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use probe_user::lab::Netns;
use probe_user::stop::StopSignal;

/// The far end of a `tun` interface: what is written to it enters there.
pub(crate) fn tun(netns: &Netns, name: &str) -> io::Result<File> {
    netns
        .run(|| {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
            // SAFETY: all zeros is a valid `ifreq`.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from.cast_signed();
            }
            request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("16 bits");
            // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call.
            let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
            if made == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
        })
        .expect("the namespace is there")
}

/// Carries packets between two `tun` interfaces until it is dropped.
pub(crate) struct Cable {
    stop: StopSignal,
    threads: Vec<JoinHandle<()>>,
}

impl Cable {
    pub(crate) fn between(one: &File, other: &File) -> Self {
        let stop = StopSignal::default();
        let carry = |from: &File, to: &File| {
            let (from, to) = (from.try_clone().expect("a file"), to.try_clone().expect("a file"));
            let stop = stop.clone();
            thread::spawn(move || carry(from, to, &stop))
        };
        let threads = vec![carry(one, other), carry(other, one)];
        Self { stop, threads }
    }
}

fn carry(mut from: File, mut to: File, stop: &StopSignal) {
    let mut packet = [0; 4096];
    while !stop.asked() {
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(20_u8)).is_ok_and(|ready| ready > 0) {
            let length = from.read(&mut packet).expect("one packet");
            to.write_all(&packet[..length]).expect("the interface takes it");
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.ask();
        for thread in self.threads.drain(..) {
            thread.join().expect("a carrier does not panic");
        }
    }
}

//! Watches the echoes of other programs instead of a run's probes: which get a number, and what became of them.

use std::{fs, os::unix::fs::MetadataExt};

use nix::net::if_::if_indextoname;
use probe_ebpf::Hop;

use super::PathWatch;
use crate::{
    ebpf::{KernelError, followed::FollowJob, running::RunningKernel},
    error::Failure,
    host::offsets::OffsetGroup,
    model::{
        followed::{FollowRequest, FollowedEcho},
        request::{EchoFlow, WatchRequest},
        trace::HostTrace,
    },
    watch::Watching,
};

impl PathWatch {
    /// Starts watching in the calling thread's network namespace for the echoes of other programs. None of them gets a number
    /// before [`PathWatch::give_numbers`]; nothing is sent, now or later.
    ///
    /// # Errors
    /// As [`super::start`]; and if one process's echoes are asked for, but this kernel does not show whose they are.
    pub fn follow(request: &WatchRequest, follow: FollowRequest) -> Result<Self, Failure> {
        let kernel = RunningKernel::taken();
        let late = crate::ebpf::hops::netfilter::available(&kernel).is_err();
        let unknown = kernel.layout(OffsetGroup::Process).err().or_else(|| late.then(|| NO_NETFILTER.to_owned()));
        if let Some(why) = unknown.filter(|_| follow.process.is_some()) {
            return Err(Failure::new(
                format!("this kernel does not show which program sends an echo: {why}"),
                "probe diagnose --passive follows those of every program",
            ));
        }
        RunningKernel::keep(kernel);
        let job = FollowJob { request: follow, pid_namespace: own_pid_namespace(), late };
        Ok(Self::start(request, Some(job))?)
    }

    /// Gives requests numbers from now on: every hop is watched.
    ///
    /// # Errors
    /// The kernel half can no longer be reached.
    pub fn give_numbers(&mut self) -> Result<(), KernelError> {
        let sights = self.sights;
        self.followed.as_mut().map_or(Ok(()), |followed| followed.give_at(sights))
    }

    /// Gives no more numbers; those that have one are still followed.
    ///
    /// # Errors
    /// The kernel half can no longer be reached.
    pub fn give_no_more(&mut self) -> Result<(), KernelError> {
        self.followed.as_mut().map_or(Ok(()), |followed| followed.give_at(0))
    }

    /// Returns the echoes that have a number, and how many requests there were in all.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    pub fn followed(&self) -> Result<(Vec<FollowedEcho>, u64), KernelError> {
        let Some(followed) = &self.followed else { return Ok((Vec::new(), 0)) };
        Ok((followed.read(), followed.asked()?))
    }

    /// Returns all that was seen, with what is looked up about the echoes of `flow`.
    ///
    /// # Errors
    /// As [`Watching::finish`].
    pub fn explain(&mut self, flow: &EchoFlow) -> Result<HostTrace, Failure> {
        self.flow = flow.clone();
        self.lookups.about(flow);
        self.places.iter_mut().for_each(|places| places.about(flow));
        self.finish()
    }

    /// Returns the name of the interface by which the echo with this number was seen to leave, or to come in.
    pub fn interface_of(trace: &HostTrace, hop: Hop, leg: probe_ebpf::Echo, number: u16) -> Option<String> {
        let passage = trace.hops.get(&hop)?.seen(leg)?.get(&number)?;
        if_indextoname(passage.ifindex).ok()?.into_string().ok()
    }
}

const NO_NETFILTER: &str = "it has no netfilter programs (they came with Linux 6.4)";

/// Returns the inode of this process's pid namespace, in which processes are numbered; 0 without `/proc`: then no
/// process has a number.
fn own_pid_namespace() -> u32 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |link| link.ino() as u32)
}

//! Measures what the programs of a watch cost per packet, by the kernel's own statistics.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::ebpf::Ebpf;
use probe_ebpf::{Hop, contract::hop::HOPS, names};

use crate::ebpf::bpf_sys::{self, RunTime};
use crate::model::trace::{HopTrace, HostTrace};

/// Runs of a program that are enough: measuring costs two readings of the clock per run, which a busy host is spared
/// from then on.
const ENOUGH_RUNS: u64 = 1000;

/// The fewest runs that mean anything.
const FEW_RUNS: u64 = 8;

/// The time between two checks whether they were reached.
const LOOK: Duration = Duration::from_millis(10);

/// Makes the kernel measure until enough is known, or until this is dropped.
pub struct Meter {
    programs: Vec<(String, OwnedFd)>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Makes the kernel measure the loaded ones of `programs`, and those of `netfilter`, if this process may ask it to.
    pub fn start<'a>(programs: &Ebpf, netfilter: impl Iterator<Item = (&'static str, &'a OwnedFd)>) -> Self {
        let own = programs.programs().filter_map(|(name, program)| {
            let program = program.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
            Some((name.to_owned(), program))
        });
        let theirs = netfilter.filter_map(|(name, program)| Some((name.to_owned(), program.try_clone().ok()?)));
        let mut meter =
            Self { programs: own.chain(theirs).collect(), over: Arc::new(AtomicBool::new(false)), thread: None };
        match bpf_sys::measure_run_time() {
            Ok(measuring) => meter.hold(measuring),
            Err(why) => tracing::info!("run times are not measured: {why}"),
        }
        meter
    }

    /// Holds `measuring` on a thread of its own, until a program ran often enough. Without the thread nothing is measured.
    fn hold(&mut self, measuring: OwnedFd) {
        let clone = |(name, program): &(String, OwnedFd)| Some((name.clone(), program.try_clone().ok()?));
        let programs = self.programs.iter().filter_map(clone).collect::<Vec<_>>();
        let over = Arc::clone(&self.over);
        let until_enough = move || {
            while !over.load(Ordering::Relaxed) && !are_enough(&programs) {
                thread::park_timeout(LOOK);
            }
            drop(measuring);
        };
        self.thread = thread::Builder::new().name("probe-meter".into()).spawn(until_enough).ok();
    }

    /// Returns how long each program ran while it was measured.
    pub fn read(&self) -> RunTimes {
        let read = |(name, program): &(String, OwnedFd)| Some((name.clone(), bpf_sys::run_time(program).ok()?));
        self.programs.iter().filter_map(read).collect()
    }
}

/// Reports whether enough is known: some program ran often, and those that see only the device's packets ran at all.
/// The tracepoints of a busy host run often before the first probe leaves.
fn are_enough(programs: &[(String, OwnedFd)]) -> bool {
    let runs = |program: &OwnedFd| bpf_sys::run_time(program).map_or(0, |time| time.runs);
    let at_device = [names::TC_IN, names::TC_OUT];
    let passed = |(name, program): &(String, OwnedFd)| !at_device.contains(&name.as_str()) || runs(program) >= FEW_RUNS;
    programs.iter().any(|(_, program)| runs(program) >= ENOUGH_RUNS) && programs.iter().all(passed)
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does nothing that could fail.
            let _ = thread.join();
        }
    }
}

/// How long programs ran, by name.
pub type RunTimes = BTreeMap<String, RunTime>;

/// Returns the nanoseconds that the programs took per packet of the run on one host: for each program the mean of its
/// runs, times how often the run's packets passed it, divided by the number of packets; 0 if nothing was measured.
pub fn per_packet(times: &RunTimes, sight: &HostTrace) -> u64 {
    let packets = packets(sight);
    if packets == 0 {
        return 0;
    }
    let spent: u64 =
        HOPS.iter().map(|row| mean(times, &programs(row.hop)).saturating_mul(passes(sight, row.hop))).sum();
    let dropped = sight.drops.iter().filter(|drop| drop.probe.is_some()).count() as u64;
    let spent = spent.saturating_add(mean(times, &[names::KFREE]).saturating_mul(dropped));
    if spent == 0 { 0 } else { (spent / packets).max(1) }
}

/// Returns the programs that run where a packet passes `hop`; of several alternatives only one is loaded or meets it. A
/// packet that the kernel's ICMP is done with ends at one of two tracepoints.
fn programs(hop: Hop) -> [&'static str; 3] {
    match hop {
        Hop::XdpIn => [names::XDP, names::XDP_GENERIC, names::XDP_OLD],
        Hop::TcIn => [names::TC_IN, names::TC_IN, names::IN_OLD],
        Hop::TcOut => [names::TC_OUT, names::TC_OUT, names::OUT_OLD],
        Hop::IcmpIn => [names::CONSUME, names::KFREE, names::KFREE],
        _ => [hop.row().program; 3],
    }
}

/// Returns the mean of a run of any of these; the second tracepoint of a hop comes on top.
fn mean(times: &RunTimes, names: &[&str]) -> u64 {
    let distinct: BTreeSet<&&str> = names.iter().collect();
    let found = distinct.into_iter().filter_map(|name| times.get(*name));
    let sum = found.fold(RunTime::default(), |sum, time| RunTime { ns: sum.ns + time.ns, runs: sum.runs + time.runs });
    let answer = if names.contains(&names::XMIT) { mean(times, &[names::XMITTED]) } else { 0 };
    sum.ns.checked_div(sum.runs).unwrap_or(0) + answer
}

/// Counts how often the run's packets passed `hop`.
fn passes(sight: &HostTrace, hop: Hop) -> u64 {
    match sight.hop(hop) {
        HopTrace::Watched { requests, replies } => {
            requests.values().chain(replies.values()).map(|step| u64::from(step.times)).sum()
        }
        HopTrace::Blind { .. } => 0,
    }
}

/// Counts how many of the run's packets any hop of the host saw.
fn packets(sight: &HostTrace) -> u64 {
    let mut seen: BTreeSet<(Echo, u16)> = BTreeSet::new();
    for hop in sight.hops.values() {
        let HopTrace::Watched { requests, replies } = hop else { continue };
        seen.extend(requests.keys().map(|probe| (Echo::Request, *probe)));
        seen.extend(replies.keys().map(|probe| (Echo::Reply, *probe)));
    }
    seen.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::ProbePassage;

    fn sight(hops: &[(Hop, u16)]) -> HostTrace {
        let step = ProbePassage { times: 1, ..ProbePassage::default() };
        let seen = |count: u16| HopTrace::Watched {
            requests: (0..count).map(|probe| (probe, step)).collect(),
            replies: BTreeMap::new(),
        };
        HostTrace { hops: hops.iter().map(|(hop, count)| (*hop, seen(*count))).collect(), ..HostTrace::default() }
    }

    fn times(list: &[(&str, u64, u64)]) -> RunTimes {
        list.iter().map(|(name, ns, runs)| ((*name).to_owned(), RunTime { ns: *ns, runs: *runs })).collect()
    }

    #[test]
    fn each_pass_costs_the_mean_of_its_program() {
        // Both hooks on the way out are the first program's; other packets ran it too, and do not count.
        let sight = sight(&[(Hop::NfOutputFirst, 10), (Hop::NfPostroutingFirst, 10), (Hop::TcOut, 5)]);
        let times = times(&[(names::NF_FIRST, 100_000, 1000), (names::TC_OUT, 400, 10)]);
        assert_eq!(per_packet(&times, &sight), 100 + 100 + 40 / 2);
    }

    #[test]
    fn a_hop_with_two_tracepoints_pays_both_and_one_with_alternatives_one() {
        let both = times(&[(names::XMIT, 300, 10), (names::XMITTED, 200, 10)]);
        assert_eq!(per_packet(&both, &sight(&[(Hop::Xmit, 4)])), 30 + 20);
        let either = times(&[(names::XDP_GENERIC, 700, 10)]);
        assert_eq!(per_packet(&either, &sight(&[(Hop::XdpIn, 4)])), 70);
    }

    #[test]
    fn what_was_not_measured_or_saw_no_packet_is_zero() {
        assert_eq!(per_packet(&RunTimes::new(), &sight(&[(Hop::TcOut, 5)])), 0);
        assert_eq!(per_packet(&times(&[(names::TC_OUT, 400, 10)]), &sight(&[])), 0);
        assert_eq!(per_packet(&times(&[(names::TC_OUT, 1, 10)]), &sight(&[(Hop::TcOut, 5)])), 0);
    }
}

//! A flood over a veth pair, dropped at its far end in turn by each of several filters: what a packet costs from the first
//! to the last, in processor time of this thread and of the kernel's softirq thread.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    process::Command,
    time::Duration,
};

use nix::sched::sched_getcpu;
use probe_ebpf::Direction;
use probe_user::{
    ebpf::bpf_sys::{ProgramType, XdpMode, always, link_tcx, link_xdp, load_program},
    host::device::Device,
    lab::Netns,
};

use crate::{bare, cases, median, others, processor_time};

/// Frames in one call: the call itself takes milliseconds.
const FRAMES: u32 = 500_000;
const ROUNDS: usize = 9;
const XDP_DROP: i32 = 1;
const XDP_TX: i32 = 3;

/// Who drops.
struct Contender {
    name: &'static str,
    filter: Filter,
}

enum Filter {
    Xdp(OwnedFd),
    Tcx(OwnedFd),
    /// Lines for `nft -f -`.
    Nft(&'static str),
}

const NFT: &str = "table netdev bench {
    chain in {
        type filter hook ingress device vb priority 0
        ip protocol icmp icmp type echo-request icmp id 7 drop
    }
}";

/// Floods each in turn, and prints the cost.
pub(crate) fn run() -> io::Result<()> {
    let netns = Netns::new().map_err(io::Error::other)?;
    let lines =
        "ip link add va type veth peer name vb && ip link set va up && ip link set vb up && ethtool -K vb gro on";
    if !netns.command("sh").args(["-ec", lines]).status()?.success() {
        return Err(io::Error::other("no veth pair"));
    }
    let empty = Contender {
        name: "XDP, empty drop",
        filter: Filter::Xdp(load_program(ProgramType::Xdp, "drop", &always(XDP_DROP))?),
    };
    let mut contenders = vec![empty];
    let (xdp, _xdp) = cases::plain_filter(bare::Hook::Xdp)?;
    contenders.push(Contender { name: "XDP, probe filter by type and id", filter: Filter::Xdp(xdp) });
    if let Some(program) = others::xdp_filter([10, 0, 0, 1]) {
        contenders.push(Contender { name: "XDP, xdp-filter by source", filter: Filter::Xdp(program) });
    }
    let (tc, _tc) = cases::plain_filter(bare::Hook::Tc)?;
    contenders.push(Contender { name: "TCX, probe filter by type and id", filter: Filter::Tcx(tc) });
    contenders.push(Contender { name: "nftables, netdev ingress", filter: Filter::Nft(NFT) });
    let measured = netns.run(|| measure(&netns, &contenders)).map_err(io::Error::other)??;
    println!("\n{:<40} {:>8} {:>8}", "flood over veth, dropped by", "ns", "x empty");
    for (contender, ns) in contenders.iter().zip(&measured) {
        println!("{:<40} {ns:>8.1} {:>8.2}", contender.name, ns / measured[0]);
    }
    Ok(())
}

fn measure(netns: &Netns, contenders: &[Contender]) -> io::Result<Vec<f64>> {
    let sender = load_program(ProgramType::Xdp, "send", &always(XDP_TX))?;
    let [from, to] = ["va", "vb"].map(|name| Device::find(name).map(|device| device.ifindex).map_err(io::Error::other));
    let (from, to) = (from?, to?);
    let mut all = vec![Vec::new(); contenders.len()];
    // The first turn of each warms up.
    for round in 0..=ROUNDS {
        for (contender, times) in contenders.iter().zip(&mut all) {
            let _link = attach(&contender.filter, to, netns)?;
            let before = spent()?;
            bare::flood(&sender, &cases::ruled_frame(), from, FRAMES)?;
            let ns = (spent()? - before).as_nanos() as f64 / f64::from(FRAMES);
            if round > 0 {
                times.push(ns);
            }
            if matches!(contender.filter, Filter::Nft(_)) {
                nft(netns, "delete table netdev bench")?;
            }
        }
    }
    Ok(all.iter_mut().map(|times| median(times)).collect())
}

fn attach(filter: &Filter, ifindex: u32, netns: &Netns) -> io::Result<Option<OwnedFd>> {
    match filter {
        Filter::Xdp(program) => link_xdp(program.as_fd(), ifindex, XdpMode::Native).map(Some),
        Filter::Tcx(program) => link_tcx(program.as_fd(), ifindex, Direction::In).map(Some),
        Filter::Nft(lines) => nft(netns, lines).map(|()| None),
    }
}

fn nft(netns: &Netns, line: &str) -> io::Result<()> {
    let mut command: Command = netns.command("nft");
    let status = command.arg(line).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("nft {line}: {status}"))) }
}

/// Processor time of this thread and of the softirq thread of its processor.
fn spent() -> io::Result<Duration> {
    let name = format!("ksoftirqd/{}\n", sched_getcpu()?);
    let mut processes = fs::read_dir("/proc")?.filter_map(Result::ok).map(|entry| entry.path());
    let softirq = processes.find(|process| fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm == name));
    let statistics = softirq.map(|process| fs::read_to_string(process.join("schedstat"))).transpose()?;
    let ran = statistics.as_deref().and_then(|text| text.split(' ').next()).and_then(|ns| ns.parse().ok());
    Ok(processor_time()? + Duration::from_nanos(ran.unwrap_or(0)))
}

//! Two network namespaces of a test's own, joined by a veth pair, and frames of any kind put on its wire.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, SockaddrLike, bind},
};
use probe_ebpf::{Echo, Family, Kind};
use probe_user::{
    ebpf::foreign::{self, Program},
    host::device::Device,
    lab::Netns,
    traffic::{EchoMessage, Frame},
};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) const A4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const B4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);

/// The longest that anything here may take: far more than it does, for machines that are busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts A (`va`) and B (`vb`), which know each other's addresses. They are gone once this is dropped.
pub(crate) struct Pair {
    pub(crate) a: Netns,
    pub(crate) b: Netns,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let pair = Self { a: Netns::new().expect("root can"), b: Netns::new().expect("root can") };
        pair.join();
        pair
    }

    /// Lays the cable, and tells each end who is at the other: nothing but echo crosses it when a test counts.
    fn join(&self) {
        // The link is made with both ends in B, then one is handed to A through a process of A's.
        let mut holder = self.a.command("sleep").arg("60").spawn().expect("sleep is there");
        sh(
            &self.b,
            &format!(
                "ip link set lo up
                 ip link add vb address 02:00:00:00:00:02 type veth peer name va address 02:00:00:00:00:01
                 ip link set va netns {}
                 ip addr add {B4}/24 dev vb && ip -6 addr add {B6}/64 dev vb nodad && ip link set vb up",
                holder.id()
            ),
        );
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
        sh(
            &self.a,
            &format!(
                "ip link set lo up
                 ip addr add {A4}/24 dev va && ip -6 addr add {A6}/64 dev va nodad && ip link set va up"
            ),
        );
        know(&self.a, "va", "02:00:00:00:00:02", &[B4.to_string(), B6.to_string()]);
        know(&self.b, "vb", "02:00:00:00:00:01", &[A4.to_string(), A6.to_string()]);
        for (netns, interface) in [(&self.a, "va"), (&self.b, "vb")] {
            eventually("the link is up", || device(netns, interface).is_some_and(|device| device.carrier));
        }
    }

    /// Makes `address` a neighbour of A that answers nothing: B throws away what is not for its own card.
    pub(crate) fn nobody_at(&self, address: &str) {
        know(&self.a, "va", "02:00:00:00:00:99", &[address.to_owned()]);
    }
}

fn know(netns: &Netns, interface: &str, mac: &str, addresses: &[String]) {
    for address in addresses {
        sh(netns, &format!("ip neigh replace {address} lladdr {mac} dev {interface} nud permanent"));
    }
}

/// Runs shell lines that must succeed inside; gives what they printed.
pub(crate) fn sh(netns: &Netns, lines: &str) -> String {
    let output = netns.command("sh").args(["-ec", lines]).output().expect("sh is there");
    assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The interface of that name, if it is there.
pub(crate) fn device(netns: &Netns, name: &str) -> Option<Device> {
    netns.run(|| Device::find(name).ok()).expect("the namespace is there")
}

/// The programs on an interface that is there.
pub(crate) fn programs(netns: &Netns, name: &str) -> Vec<Program> {
    netns
        .run(|| foreign::attached(&[Device::find(name).expect("it is there")]).remove(0).programs)
        .expect("the namespace is there")
}

/// Waits until `holds`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Gives this thread, and what it starts, mounts of its own with an empty bpffs: pins of tests meet no one else's.
pub(crate) fn own_bpffs() {
    own_mounts();
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), Some("mode=0700")).expect("a bpffs");
}

/// Gives this thread, and what it starts, mounts of its own.
pub(crate) fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("root can");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
}

/// A packet socket that puts frames on an interface's wire.
pub(crate) struct Wire(Socket);

impl Wire {
    pub(crate) fn of(netns: &Netns, interface: &str) -> Self {
        netns.run(|| Self::here(interface)).expect("the namespace is there")
    }

    fn here(interface: &str) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None::<Protocol>).expect("root can");
        let address = getifaddrs()
            .expect("a list of interfaces")
            .filter(|entry| entry.interface_name == interface)
            .filter_map(|entry| entry.address)
            .find(|address| address.family() == Some(AddressFamily::Packet))
            .expect("the interface has a link address");
        bind(socket.as_raw_fd(), &address).expect("the interface exists");
        Self(socket)
    }

    /// Puts a frame where the link may be down.
    pub(crate) fn try_put(&self, frame: &[u8]) -> std::io::Result<usize> {
        self.0.send(frame)
    }

    pub(crate) fn put(&self, frame: &[u8]) {
        assert_eq!(self.0.send(frame).expect("the frame leaves"), frame.len());
    }
}

/// An echo packet from A to B, ready for the wire of `va`.
pub(crate) fn from_a(echo: Echo, id: u16, seq: u16) -> Vec<u8> {
    Frame::v4(A4, B4, &message(Family::V4, echo, id, seq)).bytes()
}

/// An echo packet from B to A, ready for the wire of `vb`.
pub(crate) fn from_b(echo: Echo, id: u16, seq: u16) -> Vec<u8> {
    let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    Frame::v4(B4, A4, &message(Family::V4, echo, id, seq)).macs(macs[0], macs[1]).bytes()
}

/// A message with a payload of 16 bytes.
pub(crate) fn message(family: Family, echo: Echo, id: u16, seq: u16) -> EchoMessage<'static> {
    EchoMessage::new(Kind { family, echo }, id, seq, b"0123456789abcdef")
}

/// Bytes of such a message in its IPv4 packet.
pub(crate) const V4_BYTES: u64 = 20 + 8 + 16;

/// Pings from A; gives the round trips of `ping` itself, in nanoseconds: smallest, mean and largest. They end when it reads a
/// reply (`-U`): the kernel's stamp is from before the packet was queued for the hops.
pub(crate) fn ping(netns: &Netns, target: &str, count: u32) -> [f64; 3] {
    let text = sh(netns, &format!("ping -n -q -U -i 0.02 -W 5 -c {count} {target}"));
    let times = text.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = ")).expect("a summary");
    let times: Vec<f64> = times.split(['/', ' ']).filter_map(|time| time.parse().ok()).collect();
    [times[0] * 1e6, times[1] * 1e6, times[2] * 1e6]
}

/// Packets that an interface has received.
pub(crate) fn received(netns: &Netns, interface: &str) -> u64 {
    let text = sh(netns, "cat /proc/thread-self/net/dev");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:")).map(str::to_owned));
    let packets = line.as_deref().and_then(|line| line.split_whitespace().nth(1));
    packets.and_then(|packets| packets.parse().ok()).expect("a line of the interface")
}

/// Whether one ping from A to `target` comes back within a second.
pub(crate) fn answers(netns: &Netns, target: &str) -> bool {
    let output = netns.command("ping").args(["-n", "-q", "-c", "1", "-W", "1", target]).output();
    output.expect("ping is there").status.success()
}

/// Whether a command is there.
pub(crate) fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|found| found.status.success())
}

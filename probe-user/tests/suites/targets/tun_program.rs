//! Diagnoses through a tunnel that a program makes of a tun device and a UDP socket, in a format that only it knows: its packets
//! are followed, and who loses them is told.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Stdio},
    thread,
};

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    self,
    net::{Pair, device, eventually, sh},
    tun::tun,
};
use crate::honesty::diagnosed::{acquitted, diagnosed_under};

/// What the program does, for the one that runs as a process of its own.
const JOB: &str = "PROBE_TEST_TUN_PROGRAM";

/// The UDP port of both programs.
const PORT: u16 = 5151;

/// Both ends watch every network namespace of this kernel: what cannot be opened is recognized by who saw it being sent.
const EVERYWHERE: [(&str, &str); 1] = [("PROBE_OWN_NAMESPACE", "0")];

/// What a program does with packets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Carries them in both directions.
    Carry,
    /// Reads its device and sends nothing.
    Drop,
    /// Carries what it reads, and writes nothing to its device.
    Swallow,
}

/// A program that holds a tun device, until it is dropped.
struct Program(Child);

impl Program {
    fn start(netns: &Netns, device: &str, to: &str, does: Does) -> Self {
        let does = match does {
            Does::Carry => "carry",
            Does::Drop => "drop",
            Does::Swallow => "swallow",
        };
        let child = netns
            .command(env::current_exe().expect("a test is a file"))
            .args(["--exact", "targets::tun_program::what_the_program_sends_hides_what_it_carries"])
            .env(JOB, format!("{device} {to} {does}"))
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the test starts itself"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().expect("it is a child");
        self.0.wait().expect("it is a child");
    }
}

/// A pair with a tunnel of two programs.
struct Tunnel {
    pair: Pair,
    _programs: [Program; 2],
}

impl Tunnel {
    fn of(a: Does, b: Does) -> Self {
        let pair = Pair::new();
        let programs = [Program::start(&pair.a, "ta", "10.9.0.2", a), Program::start(&pair.b, "tb", "10.9.0.1", b)];
        for (netns, name, address) in [(&pair.a, "ta", "10.8.0.1"), (&pair.b, "tb", "10.8.0.2")] {
            eventually("the program has its device", || device(netns, name).is_some());
            sh(netns, &format!("ip addr add {address}/24 dev {name} && ip link set {name} mtu 1300 up"));
            eventually("the program has its socket", || sh(netns, "ss -Huan").contains(":5151"));
        }
        Self { pair, _programs: programs }
    }

    fn run(&self, more: &str) -> Value {
        let words = format!("10.8.0.2 -c 3 -W 0.3 --format json {more}");
        diagnosed_under(&self.pair, &words, &EVERYWHERE).json()
    }
}

/// Hides a packet from whoever does not know the format, or shows it again: a number, and bytes that are not its own.
fn sealed(packet: &[u8]) -> Vec<u8> {
    packet.iter().zip(0_u8..=u8::MAX).map(|(byte, at)| byte ^ at ^ 0x5a).collect::<Vec<u8>>()
}

#[test]
fn what_the_program_sends_hides_what_it_carries() {
    if let Ok(job) = env::var(JOB) {
        // The tests beside this one start it once more, as a process of its own: it is their program.
        return carry(&job);
    }
    let packet: Vec<u8> = (0..200).collect();
    let hidden = sealed(&packet);
    let shown = |part: &[u8]| packet.windows(4).any(|plain| plain == part);
    assert!(!hidden.windows(4).any(shown));
    assert_eq!(sealed(&hidden), packet);
}

/// Is the program behind a tun device, until it is killed.
fn carry(job: &str) {
    let [name, to, does] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("no job: {job}") };
    let netns = Netns::open(Path::new("/proc/thread-self/ns/net")).expect("its own").expect("its own");
    let device = tun(&netns, name).expect("a device");
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).expect("a port");
    let to = SocketAddr::new(to.parse().expect("an address"), PORT);
    let (mut reads, mut writes) = (device.try_clone().expect("a file"), device);
    let (sends, drops) = (socket.try_clone().expect("a socket"), does == "drop");
    let out = thread::spawn(move || {
        let mut packet = [0; 2048];
        for number in 0_u64.. {
            let length = reads.read(&mut packet).unwrap_or(0);
            let message = [&number.to_be_bytes()[..], &sealed(&packet[..length.min(256)])].concat();
            if !drops {
                let _refused = sends.send_to(&message, to);
            }
        }
    });
    let mut message = [0; 2048];
    loop {
        let length = socket.recv(&mut message).unwrap_or(0);
        if does != "swallow" && length > 8 {
            let _refused = writes.write(&sealed(&message[8..length]));
        }
        assert!(!out.is_finished());
    }
}

/// Checks the one stop of a run.
fn stopped(what: &str, document: &Value, [leg, host, layer]: [&str; 3], said: &str) {
    let stops = document["stops"].as_array().expect("stops");
    assert_eq!(stops.len(), 1, "{what}: {document:#}");
    let got = [&stops[0]["leg"], &stops[0]["host"], &stops[0]["layer"]].map(|word| word.as_str().unwrap_or_default());
    assert_eq!((got, stops[0]["packets"].as_u64()), ([leg, host, layer], Some(3)), "{what}: {document:#}");
    let sentence = document["verdict"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains(said), "{what}: {sentence}");
    assert!(!sentence.contains("lost on the network"), "{what}: {sentence}");
}

#[test]
fn a_healthy_tunnel_of_programs_shows_what_carries_each_probe() {
    if !common::is_root("a_healthy_tunnel_of_programs_shows_what_carries_each_probe") {
        return;
    }
    let tunnel = Tunnel::of(Does::Carry, Does::Carry);
    let ran = diagnosed_under(&tunnel.pair, "10.8.0.2 -c 20 -i 0.02 -W 10 --format json", &EVERYWHERE);
    let document = acquitted("healthy", &ran, 20);
    let stretches = document["carried"].as_array().expect("two stretches");
    let legs: Vec<&str> = stretches.iter().filter_map(|stretch| stretch["leg"].as_str()).collect();
    assert_eq!(legs, ["request", "reply"], "{document:#}");
    for stretch in stretches {
        assert_eq!(stretch["kind"], "tun", "{stretch:#}");
        for name in ["encap", "decap"] {
            let hops = stretch["hops"].as_array().into_iter().flatten();
            let of_name: Vec<&Value> = hops.filter(|hop| hop["hop"] == name).collect();
            assert_eq!((of_name.len(), &of_name[0]["packets"]), (1, &20.into()), "{name}: {stretch:#}");
        }
    }
}

#[test]
fn what_loses_the_packets_of_a_program_is_told() {
    if !common::is_root("what_loses_the_packets_of_a_program_is_told") {
        return;
    }
    let tunnel = Tunnel::of(Does::Carry, Does::Carry);
    let rule = "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
        nft 'add rule inet t c udp dport 5151 drop'";
    sh(&tunnel.pair.b, rule);
    let document = tunnel.run("");
    stopped("input of B", &document, ["request", "peer", "netfilter"], "inet t, chain c");
    assert_eq!(document["verdict"]["confidence"], "likely", "which packet is which follows from times: {document:#}");
    let alone = tunnel.run("--own-namespace");
    stopped("nobody sees both", &alone, ["request", "network", "path"], "likely sent them on");
    sh(&tunnel.pair.b, "nft delete table inet t");
    sh(&tunnel.pair.a, "ip route add 10.9.0.2/32 dev ta");
    stopped("into itself", &tunnel.run(""), ["request", "local", "driver"], "is routed into ta itself");
}

#[test]
fn a_tunnel_inside_that_of_a_program_is_a_layer_of_its_own() {
    if !common::is_root("a_tunnel_inside_that_of_a_program_is_a_layer_of_its_own") {
        return;
    }
    let tunnel = Tunnel::of(Does::Carry, Does::Carry);
    for (netns, own, far, lower) in [(&tunnel.pair.a, 1, 2, "ta"), (&tunnel.pair.b, 2, 1, "tb")] {
        let vxlan = format!(
            "ip link add vx0 mtu 1200 type vxlan id 7 dstport 8472 local 10.8.0.{own} remote 10.8.0.{far} dev {lower}
            ip addr add 10.7.0.{own}/24 dev vx0
            ip link set vx0 up
            ping -c 1 -W 3 10.7.0.{own}"
        );
        sh(netns, &vxlan);
    }
    sh(&tunnel.pair.a, "ping -c 1 -W 3 10.7.0.2");
    let rule = "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
        nft 'add rule inet t c udp dport 5151 drop'";
    sh(&tunnel.pair.b, rule);
    let document = diagnosed_under(&tunnel.pair, "10.7.0.2 -c 3 -W 0.3 --format json", &EVERYWHERE).json();
    stopped("input of B", &document, ["request", "peer", "netfilter"], "inet t, chain c");
    let sentence = document["verdict"]["sentence"].as_str().unwrap_or_default();
    for layer in ["packets of vx0 (10.8.0.1 to 10.8.0.2, VNI 7)", "behind the tun device ta (10.9.0.1 to 10.9.0.2)"] {
        assert!(sentence.contains(layer), "{layer}: {sentence}");
    }
}

#[test]
fn a_program_that_sends_nothing_or_writes_nothing_is_named() {
    if !common::is_root("a_program_that_sends_nothing_or_writes_nothing_is_named") {
        return;
    }
    let document = Tunnel::of(Does::Drop, Does::Carry).run("");
    let said = "read them from it, and no packet of the size of a probe left its UDP port 5151 since";
    stopped("sends nothing", &document, ["request", "local", "tunnel"], said);
    let document = Tunnel::of(Does::Carry, Does::Swallow).run("");
    stopped("writes nothing", &document, ["request", "peer", "tunnel"], "wrote nothing to its tun device tb");
}

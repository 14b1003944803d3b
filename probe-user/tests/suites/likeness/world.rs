//! Two hosts on one bridge, A with a second device on it, each a network namespace of the test's own.

use probe_user::lab::Netns;

use crate::common::net::{device, eventually, sh};

/// A (`eth0`, and `eth1`, which is down), B (`eth0`), and the bridge that joins all three.
pub(super) struct World {
    pub(super) a: Netns,
    pub(super) b: Netns,
    _bridge: Netns,
}

/// B's addresses.
pub(super) const B4: &str = "10.50.0.1";
pub(super) const B6: &str = "fd50::1";

impl World {
    pub(super) fn new() -> Self {
        let [a, b, bridge] = std::array::from_fn(|_| Netns::new().expect("root can"));
        sh(&bridge, "ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up");
        plug(&bridge, "p0", &a, "eth0", "02:00:00:00:00:0a");
        plug(&bridge, "p1", &a, "eth1", "02:00:00:00:00:0b");
        plug(&bridge, "p2", &b, "eth0", "02:00:00:00:00:0c");
        for (host, ends) in [(&a, "10"), (&b, "1")] {
            sh(
                host,
                &format!(
                    "ip link set lo up
                     sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
                                net.ipv4.conf.eth0.rp_filter=0 net.ipv6.conf.eth0.accept_dad=0
                     ip addr add 10.50.0.{ends}/24 brd + dev eth0 && ip addr add fd50::{ends}/64 dev eth0 nodad
                     ip link set eth0 up"
                ),
            );
        }
        sh(&a, "sysctl -qw net.ipv4.conf.eth1.rp_filter=0 net.ipv6.conf.eth1.accept_dad=0");
        for host in [&a, &b] {
            eventually("the link is up", || device(host, "eth0").is_some_and(|device| device.carrier));
        }
        let ready = || {
            let addresses = [&a, &b].map(|host| sh(host, "ip -6 addr show dev eth0 tentative"));
            addresses.iter().all(String::is_empty)
        };
        eventually("addresses are usable", ready);
        Self { a, b, _bridge: bridge }
    }

    /// Lets every group of A have ping sockets.
    pub(super) fn allow_ping_sockets(&self) {
        sh(&self.a, "sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
    }
}

/// A cable from the bridge's `port` to `name` of `host`.
fn plug(bridge: &Netns, port: &str, host: &Netns, name: &str, mac: &str) {
    let mut holder = host.command("sleep").arg("60").spawn().expect("sleep is there");
    let pid = holder.id();
    sh(
        bridge,
        &format!(
            "ip link add {port} type veth peer name far address {mac} && ip link set far netns {pid} name {name}
             ip link set {port} master br0 up"
        ),
    );
    holder.kill().expect("it is ours");
    holder.wait().expect("it ends");
}

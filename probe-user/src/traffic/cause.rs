//! Why a kernel refuses to send an echo packet: what each errno of the send call means for ICMP.
//!
//! Observed on Linux 6.18 (`tests/suites/send` repeats it), and read in `net/ipv4/{raw,ping,fib_semantics,ip_output}.c`
//! and `net/ipv6/{raw,route}.c`.

use std::net::IpAddr;

use nix::errno::Errno;
use probe_ebpf::Family;
use thiserror::Error;

use super::target::family_of;

/// This host's kernel refused the packet: the send call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{errno:?}: {}", self.cause())]
pub struct Refused {
    /// The errno of the send call.
    pub errno: Errno,
    /// The MTU in bytes that the packet was too long for, if the kernel reported it.
    pub mtu: Option<u32>,
}

/// The target and interface of a packet: enough to type the command that looks further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRoute<'a> {
    /// The target.
    pub target: IpAddr,
    /// The interface, if one was named.
    pub interface: Option<&'a str>,
}

impl Refused {
    /// Explains the errno, in one clause.
    pub fn cause(&self) -> String {
        if let (Errno::EMSGSIZE, Some(mtu)) = (self.errno, self.mtu) {
            return format!("the packet is longer than the MTU of {mtu} bytes, and it must not be fragmented");
        }
        match known(self.errno) {
            Some(cause) => cause.to_owned(),
            None => self.errno.desc().to_lowercase(),
        }
    }

    /// Returns a command that looks further, or what to change.
    pub fn look(&self, route: &SendRoute<'_>) -> String {
        match self.errno {
            Errno::EPERM => "nft list ruleset; iptables-save; bpftool cgroup tree".to_owned(),
            Errno::ENETUNREACH => format!("{}; ip -br link", route.get()),
            Errno::EHOSTUNREACH | Errno::EINVAL | Errno::EACCES => {
                format!("{}; ip{} route; ip{} rule", route.get(), route.flag(), route.flag())
            }
            Errno::ENOBUFS => {
                format!("tc -s qdisc show{0}; tc filter show{0} egress; nft list ruleset netdev", route.device())
            }
            Errno::EMSGSIZE => format!("send fewer bytes with -s, leave out --df, or see the MTU: {}", route.get()),
            Errno::EADDRNOTAVAIL => format!("ip{} addr show{}", route.flag(), route.device()),
            Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => "ip -br link".to_owned(),
            Errno::EAGAIN | Errno::ENOMEM => format!("tc -s qdisc show{}", route.device()),
            _ => route.get(),
        }
    }
}

impl SendRoute<'_> {
    /// Writes the command that asks the kernel for its route.
    fn get(&self) -> String {
        let interface = self.interface.map(|name| format!(" oif {name}")).unwrap_or_default();
        format!("ip route get {}{interface}", self.target)
    }

    fn flag(&self) -> &'static str {
        match family_of(self.target) {
            Family::V4 => "",
            Family::V6 => " -6",
        }
    }

    fn device(&self) -> String {
        self.interface.map(|name| format!(" dev {name}")).unwrap_or_default()
    }
}

/// Maps an errno of a send call on an ICMP socket to its cause.
fn known(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EPERM => {
            "dropped on its way out of this host: a firewall rule (netfilter OUTPUT or POSTROUTING), \
             a full conntrack table, or a cgroup program"
        }
        Errno::ENETUNREACH => "no route to the target, or the interface that it uses is down",
        Errno::EHOSTUNREACH => "the route to the target is of type unreachable",
        Errno::EINVAL => "the route to the target is of type blackhole",
        Errno::EACCES => "the route to the target is of type prohibit",
        Errno::ENOBUFS => {
            "dropped where it enters the network device: its queue is full, or a filter at egress \
             (nftables netdev or tc) drops it"
        }
        Errno::EMSGSIZE => "the packet is longer than the way out allows, and it must not be fragmented",
        Errno::EADDRNOTAVAIL => "this host has no source address that fits the target",
        Errno::ENETDOWN => "the network interface is down",
        Errno::ENODEV | Errno::ENXIO => "the network interface is gone",
        Errno::EAGAIN => "the send buffer stayed full: the network device takes packets too slowly",
        Errno::ENOMEM => "the kernel is out of memory",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno) -> Refused {
        Refused { errno, mtu: None }
    }

    #[test]
    fn an_errno_reads_as_its_name_and_its_cause() {
        let text = refused(Errno::EINVAL).to_string();
        assert_eq!(text, "EINVAL: the route to the target is of type blackhole");
    }

    #[test]
    fn the_mtu_is_told_where_it_is_known() {
        let cause = Refused { errno: Errno::EMSGSIZE, mtu: Some(1500) }.cause();
        assert!(cause.contains("the MTU of 1500 bytes"), "{cause}");
        assert!(!refused(Errno::EMSGSIZE).cause().contains("MTU"));
    }

    #[test]
    fn an_errno_that_is_not_in_the_table_has_the_systems_words() {
        assert_eq!(refused(Errno::EPROTO).cause(), "protocol error");
    }

    #[test]
    fn what_to_look_at_names_target_and_interface() {
        let route = SendRoute { target: "fd00::2".parse().expect("an address"), interface: Some("eth0") };
        assert_eq!(refused(Errno::ENETUNREACH).look(&route), "ip route get fd00::2 oif eth0; ip -br link");
        let look = refused(Errno::EHOSTUNREACH).look(&route);
        assert_eq!(look, "ip route get fd00::2 oif eth0; ip -6 route; ip -6 rule");
        assert_eq!(refused(Errno::EADDRNOTAVAIL).look(&route), "ip -6 addr show dev eth0");
    }
}

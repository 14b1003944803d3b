//! Kernel settings that drop echo packets, or let them pass.

use std::{fs, path::Path};

use probe_ebpf::Family;

use super::or_log;
use crate::model::trace::Finding;

/// Settings of IPv4 (`Documentation/networking/ip-sysctl.rst`).
const V4: [&str; 7] = [
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/icmp_echo_ignore_broadcasts",
    "net/ipv4/ip_forward",
    "net/ipv4/fwmark_reflect",
    "net/ipv4/icmp_ratelimit",
    "net/ipv4/icmp_ratemask",
    "net/ipv4/ping_group_range",
];

/// Settings that every IPv4 interface has, and `all`.
const V4_INTERFACE: [&str; 9] = [
    "rp_filter",
    "src_valid_mark",
    "accept_local",
    "route_localnet",
    "forwarding",
    "arp_ignore",
    "arp_filter",
    "proxy_arp",
    "drop_unicast_in_l2_multicast",
];

/// Settings of IPv6. Ping sockets share one group range with IPv4.
const V6: [&str; 7] = [
    "net/ipv6/icmp/echo_ignore_all",
    "net/ipv6/icmp/echo_ignore_multicast",
    "net/ipv6/icmp/echo_ignore_anycast",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/icmp/ratelimit",
    "net/ipv6/icmp/ratemask",
    "net/ipv4/ping_group_range",
];

/// Settings that every IPv6 interface has, and `all`.
const V6_INTERFACE: [&str; 5] =
    ["forwarding", "disable_ipv6", "proxy_ndp", "accept_ra", "drop_unicast_in_l2_multicast"];

/// How often every interface asks for a neighbour.
const QUESTIONS: [&str; 2] = ["mcast_solicit", "app_solicit"];

/// Reads the settings that matter to packets of `family` at `interfaces`, whatever their values are.
pub fn look_up<'a>(family: Family, interfaces: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let mut wanted = paths(family, None);
    for interface in interfaces {
        for path in paths(family, Some(interface)) {
            if !wanted.contains(&path) {
                wanted.push(path);
            }
        }
    }
    wanted.into_iter().filter_map(read).collect()
}

/// Returns their paths below `/proc/sys`.
fn paths(family: Family, interface: Option<&str>) -> Vec<String> {
    let (whole, each, folder): (&[&str], &[&str], _) = match family {
        Family::V4 => (&V4, &V4_INTERFACE, "net/ipv4"),
        Family::V6 => (&V6, &V6_INTERFACE, "net/ipv6"),
    };
    let places = std::iter::once("all").chain(interface);
    let of_interfaces = places.flat_map(|place| each.iter().map(move |name| format!("{folder}/conf/{place}/{name}")));
    let questions =
        interface.into_iter().flat_map(|place| QUESTIONS.map(|name| format!("{folder}/neigh/{place}/{name}")));
    whole.iter().map(|path| (*path).to_owned()).chain(of_interfaces).chain(questions).collect()
}

/// Returns whether the setting at `path` below `/proc/sys` is there and is not 0.
pub fn is_on(path: &str) -> bool {
    fs::read_to_string(Path::new("/proc/sys").join(path)).is_ok_and(|value| value.trim() != "0")
}

fn read(path: String) -> Option<Finding> {
    let value = or_log(&path, fs::read_to_string(Path::new("/proc/sys").join(&path)))?;
    // Values of several words are written with tabs between them.
    Some(Finding::Setting { path, value: value.split_whitespace().collect::<Vec<_>>().join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_settings_of_its_own() {
        let paths = paths(Family::V4, Some("eth0.5"));
        assert!(paths.contains(&"net/ipv4/conf/all/rp_filter".to_owned()));
        assert!(paths.contains(&"net/ipv4/conf/eth0.5/rp_filter".to_owned()));
        assert!(!paths.iter().any(|path| path.contains("ipv6")));
    }

    #[test]
    fn a_setting_that_this_kernel_lacks_is_left_out() {
        assert_eq!(read("net/ipv4/no_such_setting".to_owned()), None);
        let Some(Finding::Setting { value, .. }) = read("net/ipv4/ping_group_range".to_owned()) else {
            panic!("every kernel with IPv4 has it");
        };
        assert_eq!(value.split(' ').count(), 2, "{value}");
    }
}

//! The kernel settings that every network namespace of ours starts with, whatever the machine's own settings are.
//!
//! A new namespace takes `net.ipv4.conf` of the machine's first one, so that it forwards on a host with Docker, and both
//! `conf` of the first one or of its maker where `net.core.devconf_inherit_init_net` is 1 or 3 (`devinet_init_net` in
//! `net/ipv4/devinet.c`, `addrconf_init_net` in `net/ipv6/addrconf.c`). All other settings that matter to a ping, such as
//! `icmp_*`, `ip_default_ttl`, `ip_no_pmtu_disc` and `ping_group_range`, start from the kernel's own defaults anywhere.

use std::{fs, io, path::Path};

use super::error::{Capability, LabError};

/// What is written to `conf/all`, `conf/default` and the loopback interface's folder of IPv4: the kernel's own defaults.
const V4: [(&str, &str); 24] = [
    ("forwarding", "0"),
    ("rp_filter", "0"),
    ("accept_local", "0"),
    ("accept_redirects", "1"),
    ("send_redirects", "1"),
    ("secure_redirects", "1"),
    ("shared_media", "1"),
    ("route_localnet", "0"),
    ("src_valid_mark", "0"),
    ("log_martians", "0"),
    ("bc_forwarding", "0"),
    ("ignore_routes_with_linkdown", "0"),
    ("promote_secondaries", "0"),
    ("drop_unicast_in_l2_multicast", "0"),
    ("drop_gratuitous_arp", "0"),
    ("arp_filter", "0"),
    ("arp_announce", "0"),
    ("arp_ignore", "0"),
    ("arp_accept", "0"),
    ("arp_notify", "0"),
    ("arp_evict_nocarrier", "1"),
    ("proxy_arp", "0"),
    ("proxy_arp_pvlan", "0"),
    ("force_igmp_version", "0"),
];

/// The same for IPv6.
const V6: [(&str, &str); 14] = [
    ("disable_ipv6", "0"),
    ("forwarding", "0"),
    ("hop_limit", "64"),
    ("accept_redirects", "1"),
    ("accept_source_route", "0"),
    ("accept_ra", "1"),
    ("autoconf", "1"),
    ("addr_gen_mode", "0"),
    ("proxy_ndp", "0"),
    ("disable_policy", "0"),
    ("drop_unicast_in_l2_multicast", "0"),
    ("drop_unsolicited_na", "0"),
    ("ignore_routes_with_linkdown", "0"),
    ("suppress_frag_ndisc", "1"),
];

/// Settings with a value of their own at each place, or at one place only.
const SINGLE: [(&str, &str); 9] = [
    // First: it changes `forwarding` everywhere, and `accept_redirects` with it.
    ("net/ipv4/ip_forward", "0"),
    // A packet needs permission from this and from its interface.
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "1"),
    ("net/ipv6/conf/default/dad_transmits", "1"),
    ("net/ipv6/conf/default/optimistic_dad", "0"),
    ("net/ipv6/conf/all/use_tempaddr", "0"),
    ("net/ipv6/conf/default/use_tempaddr", "0"),
    ("net/ipv6/conf/default/router_solicitations", "-1"),
];

/// Where [`V4`] and [`V6`] are written: interfaces that come later start from `default`, and `lo` is there already.
const PLACES: [&str; 3] = ["all", "default", "lo"];

/// Returns the settings, as paths below `/proc/sys` with their values, in the order in which they are written.
pub fn settings() -> Vec<(String, &'static str)> {
    let single = SINGLE.iter().map(|(path, value)| ((*path).to_owned(), *value));
    let versions = [("net/ipv4/conf", V4.as_slice()), ("net/ipv6/conf", V6.as_slice())];
    let each = versions.into_iter().flat_map(|(folder, settings)| {
        PLACES.into_iter().flat_map(move |place| {
            settings.iter().map(move |(name, value)| (format!("{folder}/{place}/{name}"), *value))
        })
    });
    single.chain(each).collect()
}

/// Writes the settings to the network namespace of the calling thread. It skips settings that this kernel does not have
/// or that are right already, so that a read-only `/proc/sys` with the kernel's defaults will do.
///
/// # Errors
/// [`LabError::System`] with the path that the kernel refused.
pub fn apply() -> Result<(), LabError> {
    for (path, value) in settings() {
        let file = Path::new("/proc/sys").join(&path);
        let written = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(now) if now.trim() == value => Ok(()),
            _ => fs::write(&file, value),
        };
        let attempt = || format!("write {}", file.display());
        written.map_err(|source| LabError::system(attempt(), Capability::NetAdmin, source))?;
    }
    Ok(())
}

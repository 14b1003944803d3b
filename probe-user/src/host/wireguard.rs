//! The peers of a WireGuard device, as the program `wg` lists them: no private key is asked for, and public keys are left out.

use std::{
    collections::BTreeMap,
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use super::command;
use crate::model::trace::WireGuardPeer;

/// Returns the peers of `interface`.
///
/// # Errors
/// `NotFound` if `wg` is not installed; else what it says.
pub fn peers(interface: &str) -> io::Result<Vec<WireGuardPeer>> {
    let list = |what: &str| command::output("wg", &["show", interface, what]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(merged([&list("endpoints")?, &list("allowed-ips")?, &list("latest-handshakes")?], now))
}

/// Returns the peers of the three lists, each line of which begins with what tells peers apart.
fn merged([endpoints, allowed, handshakes]: [&str; 3], now: u64) -> Vec<WireGuardPeer> {
    let mut peers: BTreeMap<&str, WireGuardPeer> = BTreeMap::new();
    let lines = |text| str::lines(text).filter_map(|line| line.split_once('\t'));
    for (peer, endpoint) in lines(endpoints) {
        peers.entry(peer).or_default().endpoint = endpoint.parse().ok();
    }
    for (peer, addresses) in lines(allowed) {
        let addresses = addresses.split_whitespace().filter(|address| *address != "(none)");
        peers.entry(peer).or_default().allowed = addresses.map(str::to_owned).collect();
    }
    for (peer, time) in lines(handshakes) {
        let time: u64 = time.parse().unwrap_or(0);
        peers.entry(peer).or_default().handshake_s = (time != 0).then(|| now.saturating_sub(time));
    }
    peers.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_by_its_endpoint_addresses_and_handshake_and_not_by_its_key() {
        let peers = merged(
            ["K1\t198.51.100.2:51820\nK2\t(none)\n", "K1\t10.98.0.0/24 fd98::/64\nK2\t(none)\n", "K1\t90\nK2\t0\n"],
            100,
        );
        let one = WireGuardPeer {
            endpoint: Some("198.51.100.2:51820".parse().expect("an address")),
            allowed: vec!["10.98.0.0/24".into(), "fd98::/64".into()],
            handshake_s: Some(10),
        };
        assert_eq!(peers, [one, WireGuardPeer::default()]);
        assert!(!format!("{peers:?}").contains("K1"));
    }
}

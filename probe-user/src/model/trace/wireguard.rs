//! A peer of a WireGuard device: where it is and which addresses it may have inside, without its key.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireGuardPeer {
    /// Where packets for it are sent; none: not known until something comes from it.
    pub endpoint: Option<SocketAddr>,
    /// Which addresses it has inside, as `address/length`.
    pub allowed: Vec<String>,
    /// Seconds since both agreed on keys last; none: never.
    pub handshake_s: Option<u64>,
}

impl WireGuardPeer {
    /// Returns which of `peers` an address inside belongs to: the one that allows the longest prefix of it.
    pub fn of(peers: &[Self], address: IpAddr) -> Option<&Self> {
        let length = |peer: &Self| peer.allowed.iter().filter_map(|prefix| covering(prefix, address)).max();
        let covering = peers.iter().filter_map(|peer| Some((length(peer)?, peer)));
        covering.max_by_key(|(length, _)| *length).map(|(_, peer)| peer)
    }
}

/// Returns the length of a prefix if it covers the address.
fn covering(prefix: &str, address: IpAddr) -> Option<u32> {
    let (network, length) = prefix.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let same = match (network.parse().ok()?, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let beyond = u32::BITS.checked_sub(length)?;
            (u32::from(network) ^ u32::from(address)).checked_shr(beyond).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let beyond = u128::BITS.checked_sub(length)?;
            (u128::from(network) ^ u128::from(address)).checked_shr(beyond).unwrap_or(0) == 0
        }
        _ => false,
    };
    same.then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_peer_with_the_longest_prefix() {
        let peer = |allowed: &[&str]| WireGuardPeer {
            allowed: allowed.iter().map(|prefix| (*prefix).to_owned()).collect(),
            ..WireGuardPeer::default()
        };
        let peers = [peer(&["0.0.0.0/0", "::/0"]), peer(&["10.98.0.0/24", "fd98::/64"]), peer(&[])];
        let of = |address: &str| {
            let found = WireGuardPeer::of(&peers, address.parse().expect("an address"))?;
            peers.iter().position(|peer| peer == found)
        };
        assert_eq!(
            (of("10.98.0.7"), of("10.98.1.7"), of("fd98::1"), of("fd99::1")),
            (Some(1), Some(0), Some(1), Some(0))
        );
        assert_eq!(WireGuardPeer::of(&peers[1..], "10.98.1.7".parse().expect("an address")), None);
    }
}

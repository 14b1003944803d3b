//! The exit status that tells a script at which stage packets stop (`probe diagnose --exit-code stage`). Pure.

use super::verdict::{Layer, StopHost};

/// What each host that can stop packets adds.
pub const HOSTS: [(StopHost, u8); 5] =
    [(StopHost::Local, 16), (StopHost::Via, 32), (StopHost::Network, 48), (StopHost::Peer, 64), (StopHost::Beyond, 80)];

/// What each layer adds to that.
pub const LAYERS: [(Layer, u8); 13] = [
    (Layer::Socket, 1),
    (Layer::Route, 2),
    (Layer::Netfilter, 3),
    (Layer::Cgroup, 4),
    (Layer::Neighbour, 5),
    (Layer::Qdisc, 6),
    (Layer::Tc, 7),
    (Layer::Driver, 8),
    (Layer::Xdp, 9),
    (Layer::Ip, 10),
    (Layer::Icmp, 11),
    (Layer::Path, 12),
    (Layer::Tunnel, 13),
];

/// Returns the exit status of a stop: by division by 16 the host, and the rest is the layer.
pub fn status(host: StopHost, layer: Layer) -> u8 {
    let of_host = HOSTS.iter().find(|(one, _)| *one == host).map_or(0, |(_, number)| *number);
    let of_layer = LAYERS.iter().find(|(one, _)| *one == layer).map_or(0, |(_, number)| *number);
    of_host + of_layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_stage_has_a_status_of_its_own_that_no_shell_uses() {
        let all = HOSTS.iter().flat_map(|(host, _)| LAYERS.iter().map(move |(layer, _)| status(*host, *layer)));
        let all: BTreeSet<u8> = all.collect();
        assert_eq!(all.len(), HOSTS.len() * LAYERS.len());
        // 0 to 2 are outcomes, from 126 on a shell means something else.
        assert!(all.iter().all(|status| (3..126).contains(status)), "{all:?}");
        assert_eq!(status(StopHost::Peer, Layer::Netfilter), 67);
    }
}

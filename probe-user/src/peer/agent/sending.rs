//! Sends the echo packets that a controller orders: only to that controller, and a limited number.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use probe_ebpf::journey::MAX_PROBES;

use crate::{
    error::Failure,
    model::{request::WatchRequest, trace::SenderTrace},
    peer::protocol::SendOrder,
    stop::StopSignal,
    traffic::{ProbePlan, Prober, Settings},
};

/// The most packets that one run may order.
pub(super) const SESSION_PACKETS: u32 = 4 * MAX_PROBES;

/// The least time between two packets, in milliseconds.
const LEAST_INTERVAL_MS: u32 = 1;

/// The longest duration of one order, in milliseconds.
const LONGEST_MS: u64 = 30_000;

/// Sends what was ordered from the near to the far address of `pair`, and returns what came back.
pub(super) fn send(
    pair: &WatchRequest,
    order: &SendOrder,
    before: u32,
    stop: &StopSignal,
) -> Result<SenderTrace, Failure> {
    check(order, before)?;
    let settings = Settings {
        source: (!pair.local.is_unspecified()).then_some(pair.local),
        ..Settings::new(order.echo, near_end(pair))
    };
    let mut prober = Prober::open(ProbePlan {
        settings,
        first_seq: order.first_seq,
        count: order.count,
        interval: Duration::from_millis(order.interval_ms.into()),
        size: order.size,
        wait: Duration::from_millis(order.wait_ms.into()),
        ..ProbePlan::new(near_end(pair), order.id, order.nonce)
    })?;
    prober.run(stop, |_| false);
    Ok(prober.sending().clone())
}

/// Returns the controller's address; a link-local one is on the link that is watched.
fn near_end(pair: &WatchRequest) -> SocketAddr {
    match pair.remote {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let zone = pair.interface.as_deref().and_then(|name| if_nametoindex(name).ok()).unwrap_or(0);
            SocketAddrV6::new(v6, 0, 0, zone).into()
        }
        address => SocketAddr::new(address, 0),
    }
}

fn check(order: &SendOrder, before: u32) -> Result<(), Failure> {
    let whole = u64::from(order.count) * u64::from(order.interval_ms) + u64::from(order.wait_ms);
    let refuse = |what: String| Err(Failure::new(what, "keep the order within that limit"));
    if before + u32::from(order.count) > SESSION_PACKETS {
        return refuse(format!("an agent sends at most {SESSION_PACKETS} packets"));
    }
    if order.interval_ms < LEAST_INTERVAL_MS {
        return refuse(format!("an agent leaves at least {LEAST_INTERVAL_MS} ms between two packets"));
    }
    if whole > LONGEST_MS {
        return refuse(format!("an order takes at most {} seconds", LONGEST_MS / 1000));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_ebpf::Echo;

    #[test]
    fn orders_are_bounded_in_number_pace_and_time() {
        let order = SendOrder {
            echo: Echo::Request,
            id: 1,
            first_seq: 1,
            count: 10,
            interval_ms: 50,
            size: 56,
            nonce: 1,
            wait_ms: 1000,
        };
        assert!(check(&order, 0).is_ok());
        assert!(check(&order, SESSION_PACKETS - 9).is_err());
        assert!(check(&SendOrder { interval_ms: 0, ..order.clone() }, 0).is_err());
        assert!(check(&SendOrder { wait_ms: u32::MAX, ..order }, 0).is_err());
    }
}

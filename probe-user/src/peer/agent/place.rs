//! The interface of the far end that a run's probes pass.

use std::net::{IpAddr, SocketAddr};

use crate::{
    error::Failure,
    host::device::Device,
    model::request::WatchRequest,
    peer::route::{owner, way_to},
};

/// Returns the interface to watch: the one that was `asked` for on the far end's own command line or by the controller, else
/// the one that has the address that probes go to, else the one by which replies leave.
///
/// # Errors
/// If there is no such interface, or it neither has the address nor carries the route back.
pub(super) fn interface(request: &WatchRequest, asked: Option<&str>) -> Result<Option<String>, Failure> {
    let asked = asked.or(request.interface.as_deref());
    let device = asked.map(Device::find).transpose()?;
    let owner = owner(request.local);
    let back = way_to(SocketAddr::new(request.remote, 0), None, None).ok().map(|way| way.interface);
    choose(device.as_ref(), owner.as_ref(), back, request.remote)
}

fn choose(
    asked: Option<&Device>,
    owner: Option<&Device>,
    back: Option<String>,
    remote: IpAddr,
) -> Result<Option<String>, Failure> {
    let has_address = |device: &Device| owner.is_some_and(|owner| owner.ifindex == device.ifindex);
    let Some(asked) = asked else {
        // A service's address is often on lo or a dummy interface, while its packets arrive by a card.
        let arrives = owner.filter(|owner| !owner.loopback && owner.kind.as_deref() != Some("dummy"));
        return Ok(arrives.map(|device| device.name.clone()).or(back));
    };
    match back {
        Some(back) if back != asked.name && !has_address(asked) => Err(Failure::new(
            format!("interface {} of the far end does not carry the route to {remote}: {back} does", asked.name),
            format!("start the far end with -I {back}, or without -I"),
        )),
        _ => Ok(Some(asked.name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, ifindex: u32) -> Device {
        Device { name: name.into(), ifindex, ..Device::default() }
    }

    fn chosen(asked: Option<&Device>, owner: Option<&Device>, back: Option<&str>) -> Result<Option<String>, Failure> {
        choose(asked, owner, back.map(str::to_owned), [10, 0, 0, 1].into())
    }

    #[test]
    fn the_interface_with_the_address_is_watched_before_that_of_the_way_back() {
        let eth0 = device("eth0", 2);
        assert_eq!(chosen(None, Some(&eth0), Some("eth1")).expect("one"), Some("eth0".into()));
        assert_eq!(chosen(None, None, Some("eth1")).expect("one"), Some("eth1".into()));
        let lo = Device { loopback: true, ..device("lo", 1) };
        assert_eq!(chosen(None, Some(&lo), Some("eth1")).expect("one"), Some("eth1".into()));
        assert_eq!(chosen(None, None, None).expect("none"), None);
    }

    #[test]
    fn an_interface_that_probes_do_not_pass_is_refused_with_the_one_they_do() {
        let (eth0, eth1) = (device("eth0", 2), device("eth1", 3));
        let failure = chosen(Some(&eth1), Some(&eth0), Some("eth0")).expect_err("the wrong one");
        assert_eq!(failure.error, "interface eth1 of the far end does not carry the route to 10.0.0.1: eth0 does");
        assert!(failure.fix.contains("-I eth0"));
        assert_eq!(chosen(Some(&eth0), Some(&eth0), Some("eth1")).expect("asymmetric"), Some("eth0".into()));
        assert_eq!(chosen(Some(&eth1), None, None).expect("no way back"), Some("eth1".into()));
    }
}

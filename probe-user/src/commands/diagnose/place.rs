//! The target of the probes, and the way they leave this host.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

use probe_ebpf::Family;

use crate::{
    cli::diagnose::DiagnoseArgs,
    error::Failure,
    host::{device::Device, identity::Identity, or_log, tunnel},
    model::trace::tunnel::{known, to_words},
    peer::route::{Route, is_broadcast, owner, way_to, way_with},
    stop::{LOOK, StopSignal},
    traffic::{
        ResolvedTarget, TargetError,
        target::{family_of, resolve},
    },
};

/// The way that probes leave this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Egress {
    /// The interface to watch; none where there is no route.
    pub(super) interface: Option<String>,
    /// The interface that was asked for, which the socket is bound to.
    pub(super) bind_to: Option<String>,
    /// The source address; none where there is no route.
    pub(super) source: Option<IpAddr>,
    /// Whom they are sent as; none: this process.
    pub(super) identity: Option<Arc<Identity>>,
}

impl Egress {
    /// Returns the source address of the probes; unspecified where there is no route.
    pub(super) fn local(&self, target: &ResolvedTarget) -> IpAddr {
        let unspecified = match family_of(target.address.ip()) {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.source.unwrap_or(unspecified)
    }
}

/// Where the target is, and what is to be said of that.
pub(super) struct Found {
    /// The target.
    pub(super) target: ResolvedTarget,
    /// A remark for its reader.
    pub(super) remark: Option<String>,
}

/// Resolves the target as [`resolve`] does, and leaves the link of a link-local address without a zone to routing, as ping does.
fn resolve_as_ping(name: &str, family: Option<Family>, interface: Option<&str>) -> Result<Found, TargetError> {
    let target = match resolve(name, family, interface) {
        Err(TargetError::NoZone { address }) => {
            let first = way_to(SocketAddr::new(address.into(), 0), None, None);
            let Ok(Route { interface, .. }) = first else { return Err(TargetError::NoZone { address }) };
            let remark = format!(
                "{address} may be a different host on each interface: the kernel's first route for it is by {interface} — \
                 {address}%IFACE chooses another"
            );
            return Ok(Found { target: resolve(name, family, Some(&interface))?, remark: Some(remark) });
        }
        other => other?,
    };
    let remark = target.is_mapped().then(|| {
        format!("{} is sent to as IPv4; ping sends to such an address as IPv6, and no host answers that", target.name)
    });
    Ok(Found { target, remark })
}

/// Resolves the target on a thread of its own, as a name server can take its time; `None` if a stop came first.
pub(super) fn resolve_beside(args: &DiagnoseArgs, stop: &StopSignal) -> Result<Option<Found>, Failure> {
    let (name, interface, family) =
        (args.target().to_owned(), args.device().map(str::to_owned), args.family.or_of(args.source()));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(resolve_as_ping(&name, family, interface.as_deref()));
    });
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(found) => return found.map(Some).map_err(|error: TargetError| error.into()),
            Err(RecvTimeoutError::Timeout) if stop.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("the resolver stopped", "give an address instead of a name"));
            }
        }
    }
}

/// Asks the kernel for the route that packets like the probes take. A missing route is not an error: the probes will
/// show it.
///
/// # Errors
/// The interface that was asked for does not exist, or the target is a broadcast address and that was not allowed.
pub(super) fn find(
    args: &DiagnoseArgs,
    target: &ResolvedTarget,
    identity: Option<Arc<Identity>>,
) -> Result<Egress, Failure> {
    let device = args.device().map(Device::find).transpose()?;
    // From somebody else's address there is no route at all; the way that probes would take is still worth knowing.
    let own = args.source().filter(|source| owner(*source).is_some());
    if !args.ping.broadcast && is_broadcast(target.address, own, device.as_ref()) {
        return Err(Failure::new(
            format!("{} is a broadcast address: every host there may answer", target.address.ip()),
            "add -b if that is meant",
        ));
    }
    let bind_to = device.as_ref().map(|device| device.name.clone());
    let uid = identity.as_ref().map(|identity| identity.sent_as.uid);
    let way = way_with(target.address, own, device.as_ref(), (args.ping.mark, args.ping.tos(), uid)).ok();
    let source = args.source().or(way.as_ref().and_then(|way| way.source));
    Ok(Egress { interface: way.map(|way| way.interface).or_else(|| bind_to.clone()), bind_to, source, identity })
}

/// Returns how to recognize packets of this namespace's own tunnels, for the hosts that they reach.
pub(super) fn tunnels() -> Vec<u32> {
    to_words(&known(&or_log("tunnels", tunnel::devices()).unwrap_or_default()))
}

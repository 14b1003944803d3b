//! Whom the probes are for, and which way they leave this host.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use probe_ebpf::Family;

use crate::{
    cli::diagnose::DiagnoseArgs,
    error::Failure,
    host::device::Device,
    peer::route::{carries, owner, way_to},
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
    source: Option<IpAddr>,
}

impl Egress {
    /// The source address of the probes; unspecified where there is no route.
    pub(super) fn local(&self, target: &ResolvedTarget) -> IpAddr {
        let unspecified = match family_of(target.address.ip()) {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.source.unwrap_or(unspecified)
    }
}

/// Resolves the target on a thread of its own, as a name server can take its time; nothing where a stop came first.
pub(super) fn resolve_beside(args: &DiagnoseArgs, stop: &StopSignal) -> Result<Option<ResolvedTarget>, Failure> {
    let (name, interface, family) = (args.target.clone(), args.interface.clone(), args.family.or_of(args.source));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(resolve(&name, family, interface.as_deref()));
    });
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(target) => return target.map(Some).map_err(|error: TargetError| error.into()),
            Err(RecvTimeoutError::Timeout) if stop.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("the resolver stopped", "give an address instead of a name"));
            }
        }
    }
}

/// Asks the kernel for the route. That there is none is no failure: it is what the probes will show.
///
/// # Errors
/// Where the interface that was asked for does not exist, or no route leads out of it.
pub(super) fn find(args: &DiagnoseArgs, target: &ResolvedTarget) -> Result<Egress, Failure> {
    let device = args.interface.as_deref().map(Device::find).transpose()?;
    // From an address of somebody else's there is no way at all; which way probes would take is worth knowing still.
    let own = args.source.filter(|source| owner(*source).is_some());
    let route = way_to(target.address, own, None).ok();
    if let (Some(device), Some(route)) = (&device, &route)
        && device.name != route.interface
        && !carries(target.address, own, device)
    {
        let (wrong, right) = (&device.name, &route.interface);
        return Err(Failure::new(
            format!("interface {wrong} does not carry the route to {}: {right} does", target.address.ip()),
            format!("-I {right}, or leave -I out"),
        ));
    }
    let bind_to = device.as_ref().map(|device| device.name.clone());
    let way = match &device {
        Some(_) => way_to(target.address, own, device.as_ref()).ok(),
        None => route,
    };
    let source = args.source.or(way.as_ref().and_then(|way| way.source));
    Ok(Egress { interface: way.map(|way| way.interface).or_else(|| bind_to.clone()), bind_to, source })
}

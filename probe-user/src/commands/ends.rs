//! Connecting to the far end of an experiment: its name, the route to it, and a player for both ends.

use std::{sync::Arc, time::Duration};

use nix::unistd::gethostname;

use super::{Screen, stop::Signalled};
use crate::{
    cli::ends::TwoEnds,
    error::Failure,
    host::device::Device,
    middlebox::{experiment::outcome::EndNames, player::Player, timeline::EndAddresses},
    peer::{
        Peer, PeerOptions,
        command::Deploy,
        route::{addresses, way_to},
    },
    traffic::target::resolve,
    watch::path_watch,
};

/// Both ends, ready to play.
pub(super) struct Met {
    /// Plays timelines.
    pub(super) player: Player,
    /// What the ends are called.
    pub(super) names: EndNames,
    /// How long the far end takes to answer over the control channel; packets hardly take longer.
    pub(super) rtt: Duration,
}

/// Finds the route to `target`, starts the far end's command, and has it watch once.
///
/// # Errors
/// Any failure; nothing was sent yet.
pub(super) fn meet(target: &str, args: &TwoEnds, stop: &Signalled, screen: &Screen) -> Result<Met, Failure> {
    let Some(command) = &args.peer else {
        return Err(Failure::new(
            "this command needs the far end, and --peer is missing",
            "add --peer CMD, where CMD starts a probe agent there, such as --peer 'ssh b sudo probe agent'",
        ));
    };
    let device = args.interface.as_deref().map(Device::find).transpose()?;
    let target = resolve(target, args.family.or_of(args.source), args.interface.as_deref())?;
    let way = way_to(target.address, args.source, device.as_ref()).map_err(|errno| {
        let what = format!("there is no route to {}: {}", target.address.ip(), errno.desc());
        Failure::new(what, format!("probe diagnose {} says more", target.address.ip()))
    })?;
    let Some(source) = way.source else {
        return Err(Failure::new("this host has no source address for that route", "-S ADDRESS"));
    };
    let near = addresses(&way.interface, source);
    let mut peer = start(command, args, stop, screen)?;
    let far_name = peer.greet()?.hostname.clone();
    let mut player = Player {
        factory: path_watch::start,
        peer,
        interface: way.interface,
        attach: args.attach.choices(),
        ends: EndAddresses { near, far: vec![target.address.ip()] },
        stop: (**stop).clone(),
    };
    let rtt = player.meet()?;
    Ok(Met { player, names: names(far_name), rtt })
}

fn start(command: &str, args: &TwoEnds, stop: &Signalled, screen: &Screen) -> Result<Peer, Failure> {
    let deploy = if args.deploy { Deploy::Yes } else { Deploy::No };
    let screen = *screen;
    let relay = Arc::new(move |line: &str| screen.remark(&format!("peer: {line}")));
    Ok(Peer::start(PeerOptions { deploy, ..PeerOptions::new(command) }, stop, relay)?)
}

/// Names the two ends, so that hosts with the same name stay apart.
fn names(far: String) -> EndNames {
    let near = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    if near.is_empty() || far.is_empty() || near == far {
        return EndNames { near: "near".into(), far: "far".into() };
    }
    EndNames { near, far }
}

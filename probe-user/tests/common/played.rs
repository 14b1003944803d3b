//! A timeline played between two hosts of the lab, with the real agent and the real kernel half.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use probe_ebpf::Family;
use probe_user::{
    attach::Attach,
    kernel::path_watch,
    lab::{Host, Topology},
    peer::{Peer, Wish},
    player::{Played, Player},
    stop::Stop,
    timeline::{Ends, Timeline},
};

/// Meets the agent on B, from A, and plays a timeline.
pub(crate) fn play(lab: &Topology, timeline: &Timeline, family: Family) -> Played {
    let b = lab.netns(Host::B).as_fd().as_raw_fd();
    let agent = format!("nsenter --net=/proc/{}/fd/{b} {} agent", std::process::id(), env!("CARGO_BIN_EXE_probe"));
    lab.netns(Host::A)
        .run(|| {
            let stop = Stop::default();
            let mut peer = Peer::start(Wish::new(agent), &stop, Arc::new(|line: &str| println!("peer: {line}")))
                .expect("an agent");
            peer.greet().expect("a hello");
            let ends = Ends { near: vec![Host::A.address(family)], far: vec![Host::B.address(family)] };
            let mut player = Player {
                factory: path_watch::start,
                peer,
                interface: "eth0".into(),
                attach: Attach::default(),
                ends,
                stop,
            };
            player.meet().expect("a far end that watches");
            player.play(timeline, &mut |_| ()).expect("played")
        })
        .expect("A's namespace")
}

//! A timeline played between two hosts of the lab, with the real agent and the real kernel half.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use probe_ebpf::Family;
use probe_user::{
    lab::{LabHost, Topology},
    middlebox::{
        player::{Played, Player},
        timeline::{EndAddresses, Timeline},
    },
    model::attach::Attach,
    peer::{Peer, PeerOptions},
    stop::StopSignal,
    watch::path_watch,
};

/// Meets the agent on B, from A, and plays a timeline.
pub(crate) fn play(lab: &Topology, timeline: &Timeline, family: Family) -> Played {
    let b = lab.netns(LabHost::B).as_fd().as_raw_fd();
    let agent = format!("nsenter --net=/proc/{}/fd/{b} {} agent", std::process::id(), env!("CARGO_BIN_EXE_probe"));
    lab.netns(LabHost::A)
        .run(|| {
            let stop = StopSignal::default();
            let mut peer = Peer::start(PeerOptions::new(agent), &stop, Arc::new(|line: &str| println!("peer: {line}")))
                .expect("an agent");
            peer.greet().expect("a hello");
            let ends = EndAddresses { near: vec![LabHost::A.address(family)], far: vec![LabHost::B.address(family)] };
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

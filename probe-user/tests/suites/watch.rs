//! Watching a NIC twice: XDP and tc must agree on what passed both.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Family, Hop, Kind};
use probe_user::{
    ebpf::{
        load::Switch,
        nic::{Ingress, Watch, WatchOptions},
    },
    host::device::Device,
    lab::{
        Topology,
        plan::{LabHost, Nic},
    },
    model::attach::{Attach, XdpChoice},
    traffic::{Sender, Settings},
};

use crate::common::is_root;

const ID: u16 = 0x77;
const PACKETS: u64 = 5;

fn watch(lab: &Topology, xdp: XdpChoice) -> Watch {
    let attach = Attach { xdp, ..Attach::default() };
    let wish = WatchOptions { attach, ingress: Ingress::Twice, egress: Switch::On, ..WatchOptions::default() };
    let attached = lab.netns(LabHost::B).run(|| Watch::attach(&Device::find(Nic::B.interface())?, &wish));
    attached.expect("B can be entered").unwrap_or_else(|error| panic!("{error}"))
}

fn send(lab: &Topology, family: Family) {
    let settings = Settings::new(Echo::Request, SocketAddr::new(Nic::B.address(family), 0));
    lab.netns(LabHost::A)
        .run(|| {
            let mut sender = Sender::open(&settings).unwrap_or_else(|error| panic!("{error}"));
            for seq in 1..=PACKETS as u16 {
                sender.send(ID, seq, &[0; 56]).expect("A may send");
            }
        })
        .expect("A can be entered");
}

/// A copy that generic XDP makes for want of headroom has lost the length of its Ethernet header: tc at ingress then
/// starts with the IP header.
#[test]
fn tc_counts_what_xdp_let_pass_in_either_mode() {
    if !is_root("tc_counts_what_xdp_let_pass_in_either_mode") {
        return;
    }
    for xdp in [XdpChoice::Generic, XdpChoice::Native] {
        let lab = Topology::build().unwrap_or_else(|error| panic!("{error}"));
        let watch = watch(&lab, xdp);
        for family in lab.families() {
            send(&lab, *family);
            let kind = Kind { family: *family, echo: Echo::Request };
            let counts = || [Hop::XdpIn, Hop::TcIn].map(|hop| watch.count(hop, kind, ID).map(|count| count.packets));
            let deadline = Instant::now() + Duration::from_secs(5);
            while counts() != [Some(PACKETS); 2] && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(counts(), [Some(PACKETS); 2], "{xdp:?} {family:?}");
        }
    }
}

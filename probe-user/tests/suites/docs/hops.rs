//! `docs/hops/`: a page for each hop, and their list.

use std::fmt::Write as _;

use probe_ebpf::{
    Echo, Family,
    hop::{HOPS, HopRow},
    kind::Direction,
};
use probe_user::diagnosis::{
    path::{Checkpoint, PathStep, Requirement, Side, Station},
    places::{DropLocation, DropPoint, Whose, lies_between},
};

use super::{
    causes,
    pages::{MADE, Pages},
    sources::variants,
};

/// Two neighbours of the way, and what lies between them.
pub(super) struct Gap {
    pub(super) from: PathStep,
    pub(super) to: PathStep,
    pub(super) places: Vec<DropLocation>,
}

fn step(leg: Echo, host: Side, station: Station) -> PathStep {
    PathStep { leg, checkpoint: Checkpoint { host, station }, duty: Requirement::Must }
}

/// Every two neighbours of a request's way to a far host and of its reply's way back.
pub(super) fn gaps() -> Vec<Gap> {
    let hop = |row: &HopRow| Station::Hop(row.hop);
    let away = |row: &&HopRow| row.direction == Direction::Out;
    let inwards = |row: &&HopRow| row.direction == Direction::In && !row.name.starts_with("nf_forward");
    let out = |leg, host| HOPS.iter().filter(away).map(hop).map(move |station| step(leg, host, station));
    let into = |leg, host| HOPS.iter().filter(inwards).map(hop).map(move |station| step(leg, host, station));
    let is_socket = |step: &PathStep| step.checkpoint.station.name() == "socket_in";
    let is_icmp = |step: &PathStep| step.checkpoint.station.name() == "icmp_in";
    let mut way = vec![step(Echo::Request, Side::Local, Station::Send)];
    way.extend(out(Echo::Request, Side::Local));
    way.extend(into(Echo::Request, Side::Peer).filter(|step| !is_socket(step)));
    way.extend(out(Echo::Reply, Side::Peer));
    way.extend(into(Echo::Reply, Side::Local).filter(|step| !is_icmp(step)));
    way.push(step(Echo::Reply, Side::Local, Station::Recv));
    let mut gaps: Vec<Gap> = way.windows(2).map(|pair| gap(pair[0], pair[1])).collect();
    // Behind a bridge, whose ports have prerouting of their own, a packet enters once more.
    let port = HOPS.iter().find(|row| row.name == "nf_prerouting_last").map(hop).expect("it is a hop");
    let entry = HOPS.iter().find(|row| row.name == "netif_in").map(hop).expect("it is a hop");
    gaps.push(gap(step(Echo::Request, Side::Peer, port), step(Echo::Request, Side::Peer, entry)));
    gaps
}

fn gap(from: PathStep, to: PathStep) -> Gap {
    let mut places = lies_between(&from, &to, Whose::Network, Family::V4);
    for place in lies_between(&from, &to, Whose::Network, Family::V6) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Gap { from, to, places }
}

/// The places between, each once, as links from a folder beside `causes`.
fn links(places: &[DropLocation]) -> String {
    let mut names: Vec<DropPoint> = places.iter().map(|location| location.place).collect();
    names.sort_unstable();
    names.dedup();
    let link = |place: &DropPoint| format!("[{0}](../causes/{0}.md)", causes::name(*place));
    names.iter().map(link).collect::<Vec<_>>().join(", ")
}

pub(super) fn pages() -> Pages {
    let said = variants(include_str!("../../../../probe-ebpf/src/contract/hop.rs"), "Hop");
    let gaps = gaps();
    let mut pages = Pages::new();
    let mut list = format!(
        "# Hops\n\n{MADE}The checkpoints at which a packet is seen, in path order: out of the sender, then into the \
         receiver. Under generic XDP\n`netif_in` comes before `xdp_in`. `probe doctor` says which of them this machine \
         can watch. Two more stations are no programs:\n`send` is the send call, `recv` the program that reads the \
         reply.\n\n| hop | way | what it means that a packet was seen there |\n|---|---|---|\n"
    );
    for (row, (variant, doc)) in HOPS.iter().zip(&said) {
        assert_eq!(format!("{:?}", row.hop), *variant, "the order of the sources is that of the table");
        let way = if row.direction == Direction::Out { "out" } else { "in" };
        let _ = writeln!(list, "| [{0}]({0}.md) | {way} | {doc} |", row.name);
        pages.insert(format!("hops/{}.md", row.name), page(row, way, doc, &gaps));
    }
    pages.insert("hops/README.md".to_owned(), list);
    pages
}

fn page(row: &HopRow, way: &str, doc: &str, gaps: &[Gap]) -> String {
    let mut text = format!("# {}\n\n{MADE}{doc}\n\n| | |\n|---|---|\n| way | {way} |\n", row.name);
    let _ = writeln!(text, "| kernel program | `{}` |", row.program);
    if let Some(tally) = row.tally {
        let _ = writeln!(text, "| counts of everybody's echo, by id | map `{tally}` |");
    }
    let station = Station::Hop(row.hop);
    let lines = |title: &str, mine: &dyn Fn(&Gap) -> bool, other: &dyn Fn(&Gap) -> &'static str| {
        let mut rows: Vec<String> = Vec::new();
        for gap in gaps.iter().filter(|gap| mine(gap)) {
            let places = links(&gap.places);
            let places = if places.is_empty() { "nothing that drops".to_owned() } else { places };
            let line = format!("| `{}` | {places} |\n", other(gap));
            if !rows.contains(&line) {
                rows.push(line);
            }
        }
        match rows.as_slice() {
            [] => String::new(),
            rows => format!("\n{title}\n\n| hop | what lies between |\n|---|---|\n{}", rows.concat()),
        }
    };
    text += &lines(
        "A packet that the hop before it saw, and this one did not, was stopped between the two:",
        &|gap| gap.to.checkpoint.station == station,
        &|gap| gap.from.checkpoint.station.name(),
    );
    text += &lines(
        "A packet that came here, and not to the next hop, was stopped behind it:",
        &|gap| gap.from.checkpoint.station == station,
        &|gap| gap.to.checkpoint.station.name(),
    );
    text + "\nWhere this hop is blind, its neighbours are compared, and what lies on both sides of it remains.\n"
}

//! Filters on the classic hooks of tc: the `clsact` and `ingress` qdiscs. TCX programs are not among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, AsRawFd},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use probe_ebpf::contract::kind::Direction;

use super::netlink;

/// A filter, or all filters of one classifier that are no BPF programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcFilter {
    /// The direction of the packets that it filters.
    pub direction: Direction,
    /// Its classifier: `bpf`, `flower`, `matchall`, `u32`.
    pub classifier: String,
    /// The id of its program, as in `bpftool prog`.
    pub program_id: Option<u32>,
    /// The name that whoever attached the program gave to the filter.
    pub name: Option<String>,
}

/// Lists the filters of every interface of this network namespace, or of the one with index `only`, by interface index.
///
/// # Errors
/// The netlink error.
pub fn read(only: Option<u32>) -> io::Result<BTreeMap<u32, BTreeSet<TcFilter>>> {
    let mut found = BTreeMap::new();
    for (ifindex, sides) in qdiscs(only)? {
        let mut filters = BTreeSet::new();
        for (direction, minor) in sides {
            let mut request = TcMessage::with_index(ifindex);
            request.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor: *minor };
            let answer = netlink::dump(&RouteNetlinkMessage::GetTrafficFilter(request))?;
            filters.extend(answer.into_iter().filter_map(|message| filter(message, *direction)));
        }
        if let (false, Ok(ifindex)) = (filters.is_empty(), u32::try_from(ifindex)) {
            found.insert(ifindex, filters);
        }
    }
    Ok(found)
}

/// Reports whether an interface has a `clsact` or an `ingress` qdisc; it can have only one of them.
///
/// # Errors
/// The netlink error.
pub fn has_qdisc(ifindex: u32) -> io::Result<bool> {
    qdiscs(Some(ifindex)).map(|found| !found.is_empty())
}

/// Adds a clsact qdisc to an interface that has neither a clsact nor an ingress qdisc.
///
/// # Errors
/// The netlink error: EEXIST if there is one.
pub fn add_clsact(ifindex: u32) -> io::Result<()> {
    let mut request = TcMessage::with_index(i32::try_from(ifindex).map_err(io::Error::other)?);
    request.header.parent = TcHandle::CLSACT;
    request.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    request.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
    netlink::create(RouteNetlinkMessage::NewQueueDiscipline(request))
}

/// Removes the clsact qdisc of an interface, and every filter on it.
///
/// # Errors
/// The netlink error.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    let mut request = TcMessage::with_index(i32::try_from(ifindex).map_err(io::Error::other)?);
    request.header.parent = TcHandle::CLSACT;
    request.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    netlink::change(RouteNetlinkMessage::DelQueueDiscipline(request))
}

/// Attaches a loaded tc program to one side of an interface that has a `clsact` qdisc, in direct-action mode, after the
/// filters that are there. It is removed with the qdisc or the interface.
///
/// # Errors
/// The netlink error: ENOENT without the qdisc.
pub fn add_program(ifindex: u32, direction: Direction, program: impl AsFd, name: &str) -> io::Result<()> {
    let (_, minor) = BOTH[usize::from(direction == Direction::Out)];
    let mut request = TcMessage::with_index(i32::try_from(ifindex).map_err(io::Error::other)?);
    request.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor };
    // Any protocol (`ETH_P_ALL`, in network byte order); the kernel chooses the priority.
    request.header.info = u32::from(3_u16.to_be());
    let descriptor = u32::try_from(program.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    request.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(descriptor)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    netlink::create(RouteNetlinkMessage::NewTrafficFilter(request))
}

type Sides = &'static [(Direction, u16)];
const BOTH: Sides = &[(Direction::In, TcHandle::MIN_INGRESS), (Direction::Out, TcHandle::MIN_EGRESS)];
/// The `ingress` qdisc has one side, and answers with it for either.
const INGRESS: Sides = &[(Direction::In, TcHandle::MIN_INGRESS)];

/// Returns which interfaces have such a qdisc, and which sides it has.
fn qdiscs(only: Option<u32>) -> io::Result<BTreeMap<i32, Sides>> {
    let answer = netlink::dump(&RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
    let wanted = |index: i32| only.is_none_or(|only| u32::try_from(index) == Ok(only));
    let mut found = BTreeMap::new();
    for message in answer {
        let RouteNetlinkMessage::NewQueueDiscipline(message) = message else { continue };
        let sides = match kind(&message) {
            Some("clsact") => BOTH,
            Some("ingress") => INGRESS,
            _ => continue,
        };
        if wanted(message.header.index) {
            found.insert(message.header.index, sides);
        }
    }
    Ok(found)
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// Parses a filter from a message. Each classifier also announces itself without a handle: that is no filter.
fn filter(message: RouteNetlinkMessage, direction: Direction) -> Option<TcFilter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = message else { return None };
    if message.header.handle == TcHandle::UNSPEC {
        return None;
    }
    let mut filter = TcFilter { direction, classifier: kind(&message)?.to_owned(), program_id: None, name: None };
    for attribute in message.attributes {
        let TcAttribute::Options(options) = attribute else { continue };
        for option in options {
            match option {
                TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program_id = Some(id),
                TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name = Some(name),
                _ => {}
            }
        }
    }
    Some(filter)
}

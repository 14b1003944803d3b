//! A port of a bridge that passes nothing on, in words.

use super::{Evidence, path::Side};
use crate::model::trace::{AddressHolder, LinkFacts};

/// Why a port passes nothing on, what that means, and what mends it.
pub(super) type Blocked = (String, String, Vec<String>);

/// What it means that ports are isolated.
pub(super) const ISOLATED: &str =
    "A bridge passes nothing from one isolated port to another; one of the two has to be no longer isolated.";

/// Returns why a port does not take what comes in by it; `None` where it is not locked.
pub(super) fn locked(port: &LinkFacts, bridge: &str) -> Option<Blocked> {
    port.port.as_ref()?.locked.then_some(())?;
    let name = &port.interface;
    Some((
        format!(
            "{name}, a port of {bridge}, is locked, and the forwarding table does not have the sender's address at it"
        ),
        "A locked port (802.1X) takes frames only from link-layer addresses that the forwarding table has at it."
            .to_owned(),
        vec![format!("bridge fdb show br {bridge} brport {name}"), format!("bridge link set dev {name} locked off")],
    ))
}

/// Returns why a port passes nothing on, what that means, and what mends it; `None` where it is forwarding.
pub(super) fn blocked(port: &LinkFacts, bridge: &str) -> Option<Blocked> {
    let state = port.port.as_ref()?.state.as_deref()?;
    let name = &port.interface;
    if port.down || port.no_carrier {
        return Some(without_link(port, bridge));
    }
    let meaning = format!(
        "A port passes packets on in the state forwarding only: spanning tree, or `bridge link set dev {name} state`, decides \
         that."
    );
    let commands = vec![format!("bridge -d link show dev {name}"), format!("bridge link set dev {name} state 3")];
    Some((format!("{name}, a port of {bridge}, is {state}, not forwarding"), meaning, commands))
}

/// Tells of a port that its bridge disabled since nothing is at its other end, or since it is set down itself.
fn without_link(port: &LinkFacts, bridge: &str) -> Blocked {
    let name = &port.interface;
    let show = format!("ip -d link show dev {name}");
    if port.down {
        let meaning = "A bridge passes packets on to its own ports that are up, and to no others.".to_owned();
        let up = format!("ip link set dev {name} up");
        return (format!("{name}, a port of {bridge}, is down"), meaning, vec![up, show]);
    }
    let (clause, meaning) = match port.kind.as_deref() {
        Some("tun") => (
            format!("{name}, a port of {bridge}, has no carrier: no program has this tap device open"),
            "What a bridge sends by a tap device is for the virtual machine that has it open: that is off, or has another one.",
        ),
        Some("veth") => (
            format!("{name}, a port of {bridge}, has no carrier: the other end of this veth pair is down"),
            "The other end is the device in the container or namespace: it is to be set up there.",
        ),
        _ => (
            format!("{name}, a port of {bridge}, has no carrier"),
            "The other end of its cable is off or out: a bridge sends nothing by a port without a link.",
        ),
    };
    (clause, meaning.to_owned(), vec![show, format!("bridge -d link show dev {name}")])
}

/// Recognizes that the device is no port of that bridge, or is down; `what` is what it is called.
pub(super) fn off_the_bridge(far: &LinkFacts, bridge: &str, what: &str) -> Option<Blocked> {
    let port = &far.interface;
    let up = format!("ip link set dev {port} up");
    let enslave = format!("ip link set dev {port} master {bridge}");
    let (clause, commands) = match far.master.as_deref() {
        None => (format!("{what} is a port of no bridge"), vec![enslave]),
        Some(master) if master.strip_prefix("bridge ") != Some(bridge) => {
            (format!("{what} is a port of {master}, not of {bridge}"), vec![enslave])
        }
        Some(_) if far.down => (format!("{what} is down"), vec![up]),
        Some(_) => return None,
    };
    let commands = commands.into_iter().chain(["bridge link show".to_owned()]).collect();
    Some((clause, "A bridge passes packets on to its own ports that are up, and to no others.".to_owned(), commands))
}

/// Recognizes that both ports are isolated.
pub(super) fn isolated(came: &LinkFacts, far: &LinkFacts, bridge: &str) -> Option<Blocked> {
    let (from, to) = (&came.interface, &far.interface);
    came.port.as_ref()?.isolated_from.contains(to).then(|| {
        let commands = vec![format!("bridge -d link show dev {to}"), format!("bridge link set dev {to} isolated off")];
        (format!("{from} and {to} are isolated ports of {bridge}"), ISOLATED.to_owned(), commands)
    })
}

/// Returns the device of `side` that is the other end of the veth pair by which `holder` has its address: the two ends have each
/// other's index.
pub(super) fn leads_to<'a>(evidence: &'a Evidence, side: Side, holder: &AddressHolder) -> Option<&'a LinkFacts> {
    evidence.devices(side).find(|device| {
        Some(device.ifindex) == holder.lower && device.lower == Some(holder.ifindex) && device.kind == holder.kind
    })
}

//! A port of a bridge that passes nothing on, in words.

use crate::model::trace::LinkFacts;

/// What it means that ports are isolated.
pub(super) const ISOLATED: &str =
    "A bridge passes nothing from one isolated port to another; one of the two has to be no longer isolated.";

/// Returns why a port does not take what comes in by it, in the same way; `None` where it is not locked.
pub(super) fn locked(port: &LinkFacts, bridge: &str) -> Option<(String, String, Vec<String>)> {
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
pub(super) fn blocked(port: &LinkFacts, bridge: &str) -> Option<(String, String, Vec<String>)> {
    let state = port.port.as_ref()?.state.as_deref()?;
    let name = &port.interface;
    let meaning = format!(
        "A port passes packets on in the state forwarding only: spanning tree, or `bridge link set dev {name} state`, decides \
         that."
    );
    let commands = vec![format!("bridge -d link show dev {name}"), format!("bridge link set dev {name} state 3")];
    Some((format!("{name}, a port of {bridge}, is {state}, not forwarding"), meaning, commands))
}

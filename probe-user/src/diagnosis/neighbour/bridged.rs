//! Why a bridge that heard the questions did not pass them on to the host that has the address: what its ports and the
//! bridge itself say.

use super::{LostQuestion, search::Search};
use crate::{
    diagnosis::{
        bridge_port::{self, Blocked},
        path::Side,
    },
    model::trace::{AddressHolder, FloodKind, LinkFacts, NeighbourHop, NeighbourKind},
};

/// A bridge that heard the questions.
pub(super) struct Bridged<'a> {
    pub(super) side: Side,
    /// The port by which they came; the bridge itself if its own host asks.
    pub(super) came: &'a str,
    /// The ports by which they left.
    pub(super) left: Vec<&'a str>,
}

impl<'a> Bridged<'a> {
    /// Returns the bridge that heard the questions, if one did.
    pub(super) fn of(search: &Search<'a>) -> Option<Self> {
        let asker = search.device(search.asker, &search.interface).filter(|device| is_bridge(device));
        let own = asker.map(|device| (search.asker, device.interface.as_str()));
        let other = search.others().find_map(|side| {
            let is_port =
                |interface: &&str| search.device(side, interface).is_some_and(|device| device.master.is_some());
            Some((side, search.heard(side).into_keys().find(is_port)?))
        });
        let (side, came) = own.or(other)?;
        let out = search.packets(side, NeighbourKind::Asks, NeighbourHop::Out);
        let mut left: Vec<&str> =
            out.filter_map(|packet| packet.interface.as_deref()).filter(|at| *at != came).collect();
        left.sort_unstable();
        left.dedup();
        Some(Self { side, came, left })
    }

    /// Returns what keeps the questions from `holder`; `None` if what is known of the bridge does not show that.
    pub(super) fn held(&self, search: &Search<'a>, holder: &AddressHolder, owner: &str) -> Option<LostQuestion> {
        let came = search.device(self.side, self.came)?;
        let bridge = if is_bridge(came) { came.interface.as_str() } else { name_of(came.master.as_deref()?)? };
        if search.device(self.side, bridge).is_some_and(|device| device.down) {
            return Some(LostQuestion {
                clause: format!("the bridge {bridge} is down"),
                meaning: "A bridge that is set down passes nothing from port to port.".to_owned(),
                commands: vec![format!("ip link set dev {bridge} up"), "bridge link show".to_owned()],
            });
        }
        bridge_port::blocked(came, bridge).map(lost).or_else(|| self.locked(came, bridge)).or_else(|| {
            let far = bridge_port::leads_to(search.evidence, self.side, holder)?;
            let what = format!("{}, the other end of {owner}'s {},", far.interface, holder.interface);
            bridge_port::off_the_bridge(far, bridge, &what)
                .or_else(|| bridge_port::blocked(far, bridge))
                .or_else(|| bridge_port::isolated(came, far, bridge))
                .map(lost)
                .or_else(|| self.not_flooded(search, far, bridge))
        })
    }

    /// Recognizes a locked port, if nothing left the bridge.
    fn locked(&self, came: &LinkFacts, bridge: &str) -> Option<LostQuestion> {
        let (clause, meaning, commands) = bridge_port::locked(came, bridge).filter(|_| self.left.is_empty())?;
        Some(LostQuestion { clause, meaning, commands })
    }

    /// Recognizes that the frame is broadcast or multicast, and the port does not get such frames.
    fn not_flooded(&self, search: &Search<'a>, far: &LinkFacts, bridge: &str) -> Option<LostQuestion> {
        if self.left.contains(&far.interface.as_str()) {
            return None;
        }
        let kind = if search.address.is_ipv4() { FloodKind::Broadcast } else { FloodKind::Multicast };
        let port = &far.interface;
        if far.port.as_ref().is_some_and(|held| held.not_flooded.contains(&kind)) {
            let setting = kind.setting();
            let frames = if search.address.is_ipv4() {
                "broadcast, as ARP requests are"
            } else {
                "multicast, as neighbour solicitations are"
            };
            return Some(LostQuestion {
                clause: format!("{port}, a port of {bridge}, is set to {setting} off"),
                meaning: format!("The bridge sends no {frames}, out of such a port unless a listener was heard there."),
                commands: vec![
                    format!("bridge link set dev {port} {setting} on"),
                    format!("bridge -d link show dev {port}"),
                ],
            });
        }
        let snoops = search.device(self.side, bridge).is_some_and(|device| device.snoops_multicast);
        (snoops && !search.address.is_ipv4()).then(|| LostQuestion {
            clause: format!(
                "{bridge} does multicast snooping (mcast_snooping=1), and sent them to no port of a listener"
            ),
            meaning: "With a querier on the link, a snooping bridge sends neighbour solicitations only to ports from \
                      which a report (MLD) for their group came: if reports are lost or not sent, hosts are not found."
                .to_owned(),
            commands: vec![
                format!("bridge mdb show dev {bridge}"),
                format!("ip link set dev {bridge} type bridge mcast_snooping 0"),
            ],
        })
    }
}

fn is_bridge(device: &LinkFacts) -> bool {
    device.kind.as_deref() == Some("bridge")
}

/// Returns the name of `bridge br0`; `None` for what is no bridge.
fn name_of(master: &str) -> Option<&str> {
    master.strip_prefix("bridge ")
}

fn lost((clause, meaning, commands): Blocked) -> LostQuestion {
    LostQuestion { clause, meaning, commands }
}

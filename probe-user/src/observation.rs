//! What crossed one NIC, by id: computed from a snapshot, the flows, and the losses. Pure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use probe_ebpf::{Echo, Family, Flow, FlowKey, Hop, Kind, Tally};

use crate::model::{rtt::Histogram, snapshot::Snapshot};

/// What is known of one id on one IP version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservationRow {
    /// What entered through this NIC, dropped or not.
    pub entered: DirectionCounts,
    /// What left through it.
    pub left: DirectionCounts,
    /// How many of those that entered were dropped here by probe's own filter.
    pub dropped: u64,
    /// What only a watch that tracks flows knows.
    pub flows: Option<Flows>,
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionCounts {
    /// Echo requests.
    pub requests: u64,
    /// Echo replies.
    pub replies: u64,
    /// Bytes of both, IP headers included.
    pub bytes: u64,
}

/// What the flows of an id show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// The far end: who this side pings, or who pings it. Of several, the one seen last.
    pub peer: Option<IpAddr>,
    /// How many pairs of addresses use the id.
    pub pairs: usize,
    /// Requests, of either side, that got no reply in time.
    pub lost: u64,
    /// The round trips seen from this NIC.
    pub rtt: Histogram,
}

/// An id on one IP version.
pub type RowKey = (u16, Family);

/// Losses since the watch began, by id and IP version.
pub type Losses = BTreeMap<RowKey, u64>;

/// Builds the table: one row for each id and IP version that was counted, or is known to have lost something.
///
/// `ingress` is the hop that counts what enters. `bypassed` are drops that it does not see because they happen before it:
/// those of a filter at XDP, if `ingress` is at tc.
pub fn rows(
    snapshot: &Snapshot,
    ingress: Option<Hop>,
    bypassed: &BTreeMap<u16, Tally>,
    flows: Option<(&[(FlowKey, Flow)], &Losses)>,
) -> BTreeMap<RowKey, ObservationRow> {
    let mut rows = BTreeMap::<RowKey, ObservationRow>::new();
    let empty = BTreeMap::new();
    let entered = ingress.and_then(|hop| snapshot.hops.get(&hop)).unwrap_or(&empty);
    let left = snapshot.hops.get(&Hop::TcOut).unwrap_or(&empty);
    for (id, tally) in entered.iter().chain(bypassed) {
        each_family(*id, tally, |key, side| rows.entry(key).or_default().entered.add(side));
    }
    for (id, tally) in left {
        each_family(*id, tally, |key, side| rows.entry(key).or_default().left.add(side));
    }
    for (id, tally) in snapshot.dropped.iter().chain(bypassed) {
        each_family(*id, tally, |key, side| rows.entry(key).or_default().dropped += side.requests + side.replies);
    }
    if let Some((flows, losses)) = flows {
        add_flows(&mut rows, flows, losses);
    }
    rows
}

fn each_family(id: u16, tally: &Tally, mut tell: impl FnMut(RowKey, DirectionCounts)) {
    for family in [Family::V4, Family::V6] {
        let count = |echo| tally.kinds[Kind { family, echo }.index()];
        let (requests, replies) = (count(Echo::Request), count(Echo::Reply));
        if requests.packets + replies.packets > 0 {
            let bytes = requests.bytes + replies.bytes;
            tell((id, family), DirectionCounts { requests: requests.packets, replies: replies.packets, bytes });
        }
    }
}

impl DirectionCounts {
    fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.replies += more.replies;
        self.bytes += more.bytes;
    }
}

fn add_flows(rows: &mut BTreeMap<RowKey, ObservationRow>, flows: &[(FlowKey, Flow)], losses: &Losses) {
    for row in rows.values_mut() {
        row.flows = Some(Flows::default());
    }
    let mut by_age: Vec<_> = flows.iter().collect();
    by_age.sort_by_key(|(_, flow)| flow.last_ns);
    for (key, flow) in by_age {
        let known = flows_of(rows, row_key(key));
        known.peer = Some(peer(key));
        known.pairs += 1;
        known.rtt.add(&flow.rtt);
    }
    for (key, lost) in losses {
        flows_of(rows, *key).lost = *lost;
    }
}

fn flows_of(rows: &mut BTreeMap<RowKey, ObservationRow>, key: RowKey) -> &mut Flows {
    rows.entry(key).or_default().flows.get_or_insert_default()
}

/// Returns the row that a flow belongs to.
pub fn row_key(flow: &FlowKey) -> RowKey {
    let family = if Ipv6Addr::from(flow.asker).to_ipv4_mapped().is_some() { Family::V4 } else { Family::V6 };
    (flow.id, family)
}

/// Returns the end of a flow that is not on this side of the NIC.
fn peer(flow: &FlowKey) -> IpAddr {
    let address = if flow.outbound == 1 { flow.answerer } else { flow.asker };
    Ipv6Addr::from(address).to_canonical()
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use probe_ebpf::{Count, packet::mapped};

    use super::*;

    fn tally(kind: Kind, packets: u64) -> Tally {
        let mut tally = Tally::default();
        tally.kinds[kind.index()] = Count { packets, bytes: 84 * packets };
        tally
    }

    const REQUEST: Kind = Kind { family: Family::V4, echo: Echo::Request };
    const REPLY: Kind = Kind { family: Family::V4, echo: Echo::Reply };
    const REPLY_V6: Kind = Kind { family: Family::V6, echo: Echo::Reply };

    fn flow(id: u16, outbound: u16, last_ns: u64) -> (FlowKey, Flow) {
        let (asker, answerer) = (mapped([10, 0, 0, 1]), mapped([10, 0, 0, u8::try_from(last_ns).expect("small")]));
        (FlowKey { asker, answerer, id, outbound }, Flow { last_ns, ..Flow::zeroed() })
    }

    #[test]
    fn each_ip_version_of_an_id_has_its_own_row() {
        let mut both = tally(REPLY, 1);
        both.kinds[REPLY_V6.index()].packets = 2;
        let snapshot =
            Snapshot { hops: BTreeMap::from([(Hop::TcIn, BTreeMap::from([(7, both)]))]), ..Snapshot::default() };
        let rows = rows(&snapshot, Some(Hop::TcIn), &BTreeMap::new(), None);
        assert_eq!(rows[&(7, Family::V4)].entered.replies, 1);
        assert_eq!(rows[&(7, Family::V6)].entered.replies, 2);
    }

    #[test]
    fn what_a_filter_dropped_before_the_hop_entered_all_the_same() {
        let snapshot = Snapshot {
            hops: BTreeMap::from([(Hop::TcIn, BTreeMap::from([(7, tally(REQUEST, 3))]))]),
            ..Snapshot::default()
        };
        let bypassed = BTreeMap::from([(7, tally(REQUEST, 2))]);
        let row = rows(&snapshot, Some(Hop::TcIn), &bypassed, None).remove(&(7, Family::V4)).expect("a row");
        assert_eq!((row.entered.requests, row.dropped, row.flows), (5, 2, None));
    }

    #[test]
    fn the_peer_is_the_far_end_heard_of_last() {
        let flows = [flow(7, 1, 30), flow(7, 1, 20)];
        let rows = rows(&Snapshot::default(), None, &BTreeMap::new(), Some((&flows, &BTreeMap::new())));
        let known = rows[&(7, Family::V4)].flows.clone().expect("flows are tracked");
        assert_eq!((known.peer, known.pairs), ("10.0.0.30".parse().ok(), 2));
    }

    #[test]
    fn whoever_pings_this_side_is_its_peer() {
        let flows = [flow(7, 0, 30)];
        let rows = rows(&Snapshot::default(), None, &BTreeMap::new(), Some((&flows, &BTreeMap::new())));
        assert_eq!(rows[&(7, Family::V4)].flows.as_ref().and_then(|known| known.peer), "10.0.0.1".parse().ok());
    }

    #[test]
    fn losses_are_told_with_their_id() {
        let losses = BTreeMap::from([((9, Family::V4), 4)]);
        let rows = rows(&Snapshot::default(), None, &BTreeMap::new(), Some((&[], &losses)));
        assert_eq!(rows[&(9, Family::V4)].flows.as_ref().map(|known| known.lost), Some(4));
    }
}

//! Where the running kernel keeps the fields that the programs read, and which hops lack one.

use probe_ebpf::contract::offsets::{ABSENT, Offsets};

use super::btf::{Btf, Lack};

/// Fields that are read together: if one is missing, the hops that read them are blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetGroup {
    /// A packet, its device, its socket and its network namespace: read by every hop that gets an skb.
    Packet,
    /// The state of a netfilter hook.
    Netfilter,
    /// The process that sends, and those that it descends from.
    Process,
    /// Fields that no program requires.
    Detail,
}

/// The offsets of one kernel.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The offsets in the form that the programs get.
    pub offsets: Offsets,
    lacks: Vec<(OffsetGroup, Lack)>,
}

/// One field: who reads it, where it is, how large it must be, and where its offset is stored.
struct Row {
    group: OffsetGroup,
    structure: &'static str,
    path: &'static str,
    bytes: u32,
    slot: fn(&mut Offsets) -> &mut u32,
}

/// The size of an array whose length the structure leaves open.
const OPEN: u32 = 0;

/// Bytes of a `struct upid`, of which `pid.numbers` had one element before Linux 6.5, and has been of open length
/// since.
const UPID: u32 = 16;

const fn row(
    group: OffsetGroup,
    structure: &'static str,
    path: &'static str,
    bytes: u32,
    slot: fn(&mut Offsets) -> &mut u32,
) -> Row {
    Row { group, structure, path, bytes, slot }
}

const ROWS: [Row; 31] = [
    row(OffsetGroup::Packet, "sk_buff", "head", 8, |offsets| &mut offsets.skb_head),
    row(OffsetGroup::Packet, "sk_buff", "data", 8, |offsets| &mut offsets.skb_data),
    row(OffsetGroup::Packet, "sk_buff", "tail", 4, |offsets| &mut offsets.skb_tail),
    row(OffsetGroup::Detail, "sk_buff", "len", 4, |offsets| &mut offsets.skb_len),
    row(OffsetGroup::Packet, "sk_buff", "network_header", 2, |offsets| &mut offsets.skb_network_header),
    row(OffsetGroup::Detail, "sk_buff", "transport_header", 2, |offsets| &mut offsets.skb_transport_header),
    row(OffsetGroup::Packet, "sk_buff", "protocol", 2, |offsets| &mut offsets.skb_protocol),
    row(OffsetGroup::Packet, "sk_buff", "mark", 4, |offsets| &mut offsets.skb_mark),
    row(OffsetGroup::Packet, "sk_buff", "vlan_proto", 2, |offsets| &mut offsets.skb_vlan_proto),
    row(OffsetGroup::Packet, "sk_buff", "vlan_tci", 2, |offsets| &mut offsets.skb_vlan_tci),
    row(OffsetGroup::Packet, "sk_buff", "mac_header", 2, |offsets| &mut offsets.skb_mac_header),
    row(OffsetGroup::Packet, "sk_buff", "dev", 8, |offsets| &mut offsets.skb_dev),
    row(OffsetGroup::Packet, "sk_buff", "sk", 8, |offsets| &mut offsets.skb_sk),
    row(OffsetGroup::Packet, "net_device", "ifindex", 4, |offsets| &mut offsets.device_ifindex),
    row(OffsetGroup::Packet, "net_device", "nd_net.net", 8, |offsets| &mut offsets.device_net),
    row(OffsetGroup::Packet, "sock", "__sk_common.skc_net.net", 8, |offsets| &mut offsets.sock_net),
    row(OffsetGroup::Packet, "sock", "__sk_common.skc_family", 2, |offsets| &mut offsets.sock_family),
    row(OffsetGroup::Packet, "sock", "sk_type", 2, |offsets| &mut offsets.sock_type),
    row(OffsetGroup::Packet, "net", "ns.inum", 4, |offsets| &mut offsets.net_inum),
    row(OffsetGroup::Netfilter, "nf_hook_state", "hook", 1, |offsets| &mut offsets.nf_hook),
    row(OffsetGroup::Netfilter, "nf_hook_state", "pf", 1, |offsets| &mut offsets.nf_pf),
    row(OffsetGroup::Netfilter, "nf_hook_state", "in", 8, |offsets| &mut offsets.nf_in),
    row(OffsetGroup::Netfilter, "nf_hook_state", "out", 8, |offsets| &mut offsets.nf_out),
    row(OffsetGroup::Netfilter, "nf_hook_state", "net", 8, |offsets| &mut offsets.nf_net),
    row(OffsetGroup::Process, "task_struct", "group_leader", 8, |offsets| &mut offsets.task_leader),
    row(OffsetGroup::Process, "task_struct", "real_parent", 8, |offsets| &mut offsets.task_parent),
    row(OffsetGroup::Process, "task_struct", "thread_pid", 8, |offsets| &mut offsets.task_pid),
    row(OffsetGroup::Process, "task_struct", "comm", 16, |offsets| &mut offsets.task_comm),
    row(OffsetGroup::Process, "pid", "level", 4, |offsets| &mut offsets.pid_level),
    row(OffsetGroup::Process, "pid", "numbers", OPEN, |offsets| &mut offsets.pid_numbers),
    row(OffsetGroup::Process, "pid_namespace", "ns.inum", 4, |offsets| &mut offsets.pidns_inum),
];

impl Layout {
    /// Computes the layout of the kernel that `btf` describes. A missing field is noted, not an error.
    pub fn of(btf: &Btf) -> Self {
        let mut layout = Self { offsets: Offsets::NONE, lacks: Vec::new() };
        for row in ROWS {
            let with = |bytes| btf.offset(row.structure, row.path, bytes);
            let found = with(row.bytes).or_else(|lack| if row.bytes == OPEN { with(UPID) } else { Err(lack) });
            match found {
                Ok(offset) => *(row.slot)(&mut layout.offsets) = offset,
                Err(lack) => layout.lacks.push((row.group, lack)),
            }
        }
        layout
    }

    /// Returns the missing field of `group`, if there is one.
    pub fn lack(&self, group: OffsetGroup) -> Option<&Lack> {
        self.lacks.iter().find(|(lacking, _)| *lacking == group).map(|(_, lack)| lack)
    }
}

const _: () = assert!(ABSENT == u32::MAX && size_of::<Offsets>() == ROWS.len() * 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_these_structures_lacks_both_groups_and_has_no_offset() {
        let mut empty = 0xeb9f_u16.to_ne_bytes().to_vec();
        empty.extend([1, 0]);
        for word in [24_u32, 0, 0, 0, 1] {
            empty.extend(word.to_ne_bytes());
        }
        empty.push(0);
        let layout = Layout::of(&Btf::parse(empty).expect("BTF without types"));
        assert_eq!(layout.offsets, Offsets::NONE);
        assert_eq!(layout.lack(OffsetGroup::Packet), Some(&Lack::Type("struct sk_buff".into())));
        assert_eq!(layout.lack(OffsetGroup::Netfilter), Some(&Lack::Type("struct nf_hook_state".into())));
    }

    #[test]
    fn every_row_has_a_slot_of_its_own() {
        let mut offsets = Offsets::NONE;
        for (number, row) in (0..).zip(ROWS) {
            assert_eq!(std::mem::replace((row.slot)(&mut offsets), number), ABSENT, "{}.{}", row.structure, row.path);
        }
    }

    #[test]
    fn the_running_kernel_lacks_nothing() {
        let Some(btf) = crate::skip::running_btf("the_running_kernel_lacks_nothing") else { return };
        let layout = Layout::of(&btf);
        for group in [OffsetGroup::Packet, OffsetGroup::Netfilter, OffsetGroup::Process, OffsetGroup::Detail] {
            assert_eq!(layout.lack(group), None);
        }
    }
}

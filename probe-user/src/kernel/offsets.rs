//! Where the running kernel keeps the fields that the programs read, and which hops it lacks one for.

use probe_ebpf::contract::offsets::{ABSENT, Offsets};

use super::btf::{Btf, Lack};

/// Fields that are read together: where one is missing, the hops that read them are blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A packet, its device, its socket and its network namespace: what every hop reads that is handed an skb.
    Packet,
    /// The state of a netfilter hook.
    Netfilter,
    /// What no program needs.
    Detail,
}

/// The offsets of one kernel.
#[derive(Clone, Debug)]
pub struct Layout {
    /// As the programs are told them.
    pub offsets: Offsets,
    lacks: Vec<(Group, Lack)>,
}

/// One field: who reads it, where it is, how large it must be, and where its offset goes.
struct Row {
    group: Group,
    structure: &'static str,
    path: &'static str,
    bytes: u32,
    slot: fn(&mut Offsets) -> &mut u32,
}

const fn row(
    group: Group,
    structure: &'static str,
    path: &'static str,
    bytes: u32,
    slot: fn(&mut Offsets) -> &mut u32,
) -> Row {
    Row { group, structure, path, bytes, slot }
}

const ROWS: [Row; 20] = [
    row(Group::Packet, "sk_buff", "head", 8, |offsets| &mut offsets.skb_head),
    row(Group::Packet, "sk_buff", "data", 8, |offsets| &mut offsets.skb_data),
    row(Group::Packet, "sk_buff", "tail", 4, |offsets| &mut offsets.skb_tail),
    row(Group::Detail, "sk_buff", "len", 4, |offsets| &mut offsets.skb_len),
    row(Group::Packet, "sk_buff", "network_header", 2, |offsets| &mut offsets.skb_network_header),
    row(Group::Detail, "sk_buff", "transport_header", 2, |offsets| &mut offsets.skb_transport_header),
    row(Group::Packet, "sk_buff", "protocol", 2, |offsets| &mut offsets.skb_protocol),
    row(Group::Packet, "sk_buff", "dev", 8, |offsets| &mut offsets.skb_dev),
    row(Group::Packet, "sk_buff", "sk", 8, |offsets| &mut offsets.skb_sk),
    row(Group::Packet, "net_device", "ifindex", 4, |offsets| &mut offsets.device_ifindex),
    row(Group::Packet, "net_device", "nd_net.net", 8, |offsets| &mut offsets.device_net),
    row(Group::Packet, "sock", "__sk_common.skc_net.net", 8, |offsets| &mut offsets.sock_net),
    row(Group::Packet, "sock", "__sk_common.skc_family", 2, |offsets| &mut offsets.sock_family),
    row(Group::Packet, "sock", "sk_type", 2, |offsets| &mut offsets.sock_type),
    row(Group::Packet, "net", "ns.inum", 4, |offsets| &mut offsets.net_inum),
    row(Group::Netfilter, "nf_hook_state", "hook", 1, |offsets| &mut offsets.nf_hook),
    row(Group::Netfilter, "nf_hook_state", "pf", 1, |offsets| &mut offsets.nf_pf),
    row(Group::Netfilter, "nf_hook_state", "in", 8, |offsets| &mut offsets.nf_in),
    row(Group::Netfilter, "nf_hook_state", "out", 8, |offsets| &mut offsets.nf_out),
    row(Group::Netfilter, "nf_hook_state", "net", 8, |offsets| &mut offsets.nf_net),
];

impl Layout {
    /// That of the kernel that `btf` describes. What is missing is noted, not an error.
    pub fn of(btf: &Btf) -> Self {
        let mut layout = Self { offsets: Offsets::NONE, lacks: Vec::new() };
        for row in ROWS {
            match btf.offset(row.structure, row.path, row.bytes) {
                Ok(offset) => *(row.slot)(&mut layout.offsets) = offset,
                Err(lack) => layout.lacks.push((row.group, lack)),
            }
        }
        layout
    }

    /// What is missing of `group`, if anything is.
    pub fn lack(&self, group: Group) -> Option<&Lack> {
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
        assert_eq!(layout.lack(Group::Packet), Some(&Lack::Type("struct sk_buff".into())));
        assert_eq!(layout.lack(Group::Netfilter), Some(&Lack::Type("struct nf_hook_state".into())));
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
        for group in [Group::Packet, Group::Netfilter, Group::Detail] {
            assert_eq!(layout.lack(group), None);
        }
    }
}

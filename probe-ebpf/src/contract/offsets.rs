//! The offsets of the fields that the programs read in the running kernel's structures, from its BTF.

use bytemuck::{Pod, Zeroable};

/// An offset of a field that the running kernel does not have. A program that reads it is not loaded.
pub const ABSENT: u32 = u32::MAX;

/// The frozen global [`crate::names::OFFSETS`]: bytes from the start of the structure, or [`ABSENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Offsets {
    /// `sk_buff.head`: address of the first byte of the buffer.
    pub skb_head: u32,
    /// `sk_buff.data`: address of the first byte of the current layer.
    pub skb_data: u32,
    /// `sk_buff.tail`: end of the data in the buffer, in bytes from `head` on (64-bit kernels).
    pub skb_tail: u32,
    /// `sk_buff.len`: bytes of data, also those outside the buffer.
    pub skb_len: u32,
    /// `sk_buff.network_header`: bytes from `head` on; 16 bits.
    pub skb_network_header: u32,
    /// `sk_buff.transport_header`: bytes from `head` on, of the next header.
    pub skb_transport_header: u32,
    /// `sk_buff.protocol`: the `EtherType`, in network byte order.
    pub skb_protocol: u32,
    /// `sk_buff.mark`: the firewall mark, which policy routing can match.
    pub skb_mark: u32,
    /// `sk_buff.vlan_proto`: the `EtherType` of a VLAN tag that was taken off the frame, in network byte order; 0: none was.
    pub skb_vlan_proto: u32,
    /// `sk_buff.vlan_tci`: that tag; 16 bits.
    pub skb_vlan_tci: u32,
    /// `sk_buff.mac_header`: bytes from `head` on; 16 bits.
    pub skb_mac_header: u32,
    /// `sk_buff.dev`: pointer to its current `net_device`; null before routing has chosen one.
    pub skb_dev: u32,
    /// `sk_buff.sk`: pointer to the `sock` that owns it; may be null.
    pub skb_sk: u32,
    /// `net_device.ifindex`.
    pub device_ifindex: u32,
    /// `net_device.nd_net.net`: pointer to its `net`.
    pub device_net: u32,
    /// `sock.__sk_common.skc_net.net`: pointer to its `net`.
    pub sock_net: u32,
    /// `sock.__sk_common.skc_family`: `AF_*`, 16 bits.
    pub sock_family: u32,
    /// `sock.sk_type`: `SOCK_RAW`, `SOCK_DGRAM` and the like; 16 bits.
    pub sock_type: u32,
    /// `net.ns.inum`: inode of the network namespace.
    pub net_inum: u32,
    /// `nf_hook_state.hook`: `enum nf_inet_hooks`, 8 bits.
    pub nf_hook: u32,
    /// `nf_hook_state.pf`: `NFPROTO_*`, 8 bits.
    pub nf_pf: u32,
    /// `nf_hook_state.in`: pointer to a `net_device`; may be null.
    pub nf_in: u32,
    /// `nf_hook_state.out`: pointer to a `net_device`; may be null.
    pub nf_out: u32,
    /// `nf_hook_state.net`: pointer to a `net`.
    pub nf_net: u32,
    /// `task_struct.group_leader`: pointer to the `task_struct` that stands for its process.
    pub task_leader: u32,
    /// `task_struct.real_parent`: pointer to the `task_struct` that made it.
    pub task_parent: u32,
    /// `task_struct.thread_pid`: pointer to its `pid`.
    pub task_pid: u32,
    /// `task_struct.comm`: its name.
    pub task_comm: u32,
    /// `pid.level`: how many pid namespaces it is in below the first.
    pub pid_level: u32,
    /// `pid.numbers`: its `upid` in each of them.
    pub pid_numbers: u32,
    /// `pid_namespace.ns.inum`: inode of the pid namespace.
    pub pidns_inum: u32,
}

impl Offsets {
    /// The offsets of a kernel that has none of the fields.
    pub const NONE: Self = Self {
        skb_head: ABSENT,
        skb_data: ABSENT,
        skb_tail: ABSENT,
        skb_len: ABSENT,
        skb_network_header: ABSENT,
        skb_transport_header: ABSENT,
        skb_protocol: ABSENT,
        skb_mark: ABSENT,
        skb_vlan_proto: ABSENT,
        skb_vlan_tci: ABSENT,
        skb_mac_header: ABSENT,
        skb_dev: ABSENT,
        skb_sk: ABSENT,
        device_ifindex: ABSENT,
        device_net: ABSENT,
        sock_net: ABSENT,
        sock_family: ABSENT,
        sock_type: ABSENT,
        net_inum: ABSENT,
        nf_hook: ABSENT,
        nf_pf: ABSENT,
        nf_in: ABSENT,
        nf_out: ABSENT,
        nf_net: ABSENT,
        task_leader: ABSENT,
        task_parent: ABSENT,
        task_pid: ABSENT,
        task_comm: ABSENT,
        pid_level: ABSENT,
        pid_numbers: ABSENT,
        pidns_inum: ABSENT,
    };
}

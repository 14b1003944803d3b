//! Names of maps and programs as `bpftool` shows them: at most 15 bytes, with a prefix that shows their owner.

/// The kernel keeps 15 bytes of a name (`BPF_OBJ_NAME_LEN` in `include/uapi/linux/bpf.h`, less the final zero).
pub const NAME_LIMIT: usize = 15;

/// XDP at ingress, in the driver.
pub const XDP: &str = "probe_xdp";
/// XDP at ingress, in the kernel's receive path.
pub const XDP_GENERIC: &str = "probe_xdp_gen";
/// TCX or clsact at ingress.
pub const TC_IN: &str = "probe_tc_in";
/// TCX or clsact at egress.
pub const TC_OUT: &str = "probe_tc_out";
/// XDP at ingress on kernels before 5.18, without the rules of a filter.
pub const XDP_OLD: &str = "probe_xdp_old";
/// clsact at ingress on such kernels.
pub const IN_OLD: &str = "probe_in_old";
/// clsact at egress on such kernels.
pub const OUT_OLD: &str = "probe_out_old";

/// The guard at XDP ingress, in the driver.
pub const GUARD_XDP: &str = "probe_guard_xdp";
/// The guard at XDP ingress, in the kernel's receive path.
pub const GUARD_XDP_GENERIC: &str = "probe_g_xdp_gen";
/// The guard at tc ingress.
pub const GUARD_IN: &str = "probe_guard_in";
/// The guard at tc egress.
pub const GUARD_OUT: &str = "probe_guard_out";

/// First of all in a netfilter hook.
pub const NF_FIRST: &str = "probe_nf_first";
/// Last of all in a netfilter hook.
pub const NF_LAST: &str = "probe_nf_last";
/// cgroup egress.
pub const CGROUP_OUT: &str = "probe_cg_out";
/// cgroup ingress.
pub const CGROUP_IN: &str = "probe_cg_in";
/// Tracepoint `net:net_dev_queue`.
pub const DEV_QUEUE: &str = "probe_dev_queue";
/// Tracepoint `net:net_dev_start_xmit`.
pub const XMIT: &str = "probe_xmit";
/// Tracepoint `net:net_dev_xmit`: the driver's return code.
pub const XMITTED: &str = "probe_xmitted";
/// Tracepoint `net:netif_receive_skb`.
pub const NETIF_IN: &str = "probe_netif_in";
/// Tracepoint `skb:kfree_skb`.
pub const KFREE: &str = "probe_kfree";
/// Tracepoint `skb:consume_skb`.
pub const CONSUME: &str = "probe_consume";

/// Which probe passed which hop.
pub const JOURNEYS: &str = "probe_journeys";
/// Devices of other network namespaces that probes crossed.
pub const SITES: &str = "probe_sites";
/// The slot of each of them.
pub const SITE_SLOTS: &str = "probe_site_slot";
/// How many slots were given.
pub const SITE_COUNT: &str = "probe_site_num";
/// Which probe crossed which of them.
pub const CROSSINGS: &str = "probe_crossings";
/// What each followed echo was at first sight.
pub const FOLLOWED: &str = "probe_followed";
/// The numbers of followed echoes, by what tells them apart.
pub const FOLLOW_KEYS: &str = "probe_f_keys";
/// Echoes that are not followed.
pub const FOLLOW_OTHERS: &str = "probe_f_others";
/// How many numbers were given.
pub const FOLLOW_COUNT: &str = "probe_f_count";
/// Where requests get numbers: bits of [`crate::follow`]; 0: nowhere yet, or no more.
pub const FOLLOW_SIGHTS: &str = "probe_f_sights";
/// The slot of each other network namespace whose netfilter hooks are watched.
pub const HOOK_SLOTS: &str = "probe_hook_slot";
/// Which probe passed which of those hooks.
pub const HOOKS: &str = "probe_hooks";
/// The tunnels that are opened.
pub const TUNNELS: &str = "probe_tunnels";
/// Packets of programs that hold tun devices, and the probe that each is.
pub const SEALED: &str = "probe_sealed";
/// The probes that were last handed to those programs.
pub const SEALING: &str = "probe_sealing";
/// Drop events.
pub const DROPS: &str = "probe_drops";
/// Packets of ARP and neighbour discovery.
pub const NEIGHBOURS: &str = "probe_neighbour";
/// Requests of the run that were kept from the kernel.
pub const ABSORBED: &str = "probe_absorbed";
/// The packet that each processor has just handed to a driver.
pub const HANDED: &str = "probe_handed";
/// Packets and bytes by id, counted by XDP.
pub const TALLY_XDP: &str = "probe_tal_xdp";
/// Packets and bytes by id, counted by tc at ingress.
pub const TALLY_IN: &str = "probe_tal_in";
/// Packets and bytes by id, counted by tc at egress.
pub const TALLY_OUT: &str = "probe_tal_out";
/// Packets and bytes by id that the filter dropped.
pub const TALLY_DROP: &str = "probe_tal_drop";
/// How often each cause of [`crate::Skip`] was met.
pub const SKIPS: &str = "probe_skips";
/// The first rule, by id.
pub const RULE_INDEX: &str = "probe_r_index";
/// The rules of the filter.
pub const RULES: &str = "probe_rules";
/// What each rule matched and dropped.
pub const RULE_STATS: &str = "probe_r_stats";
/// What the actions of rules remember.
pub const RULE_STATES: &str = "probe_r_states";
/// Who pings whom, with the round-trip times.
pub const FLOWS: &str = "probe_flows";
/// The flow that is copied for each new flow.
pub const NEW_FLOW: &str = "probe_new_flow";
/// Requests that wait for their reply.
pub const PENDING: &str = "probe_pending";
/// Whether flows are followed yet: see [`crate::flow::TRACKING`].
pub const TRACKING: &str = "probe_tracking";
/// Copies of packets for `probe receive`.
pub const EVENTS: &str = "probe_events";

/// The guard's states and when they expire.
pub const GUARD_SETS: &str = "probe_g_sets";
/// The rest of the guard's states.
pub const GUARD_STATES: &str = "probe_g_states";
/// How often each of [`crate::GuardCount`] was met.
pub const GUARD_COUNTS: &str = "probe_g_counts";
/// Packets by id that the guard dropped.
pub const GUARD_DROPS: &str = "probe_g_drops";
/// The guard's notes on the packet that each processor has just read.
pub const GUARD_NOTES: &str = "probe_g_notes";
/// The guard's configuration, and who set it.
pub const GUARD: &str = "probe_guard";

/// The frozen global of type [`crate::GuardConfig`].
pub const GUARD_CONFIG: &str = "PROBE_GUARD";

/// The frozen global of type [`crate::Config`].
pub const CONFIG: &str = "PROBE_CONFIG";

/// The frozen global of type [`crate::Offsets`].
pub const OFFSETS: &str = "PROBE_OFFSETS";

/// The frozen global of type [`crate::contract::drops::DropConfig`].
pub const DROP_CONFIG: &str = "PROBE_DROPS";

/// Every name that the kernel sees.
pub const ALL: [&str; 60] = [
    SEALED,
    SEALING,
    FOLLOWED,
    FOLLOW_KEYS,
    FOLLOW_OTHERS,
    FOLLOW_COUNT,
    FOLLOW_SIGHTS,
    HOOK_SLOTS,
    TUNNELS,
    HOOKS,
    SITES,
    SITE_SLOTS,
    SITE_COUNT,
    CROSSINGS,
    ABSORBED,
    NEIGHBOURS,
    XMITTED,
    HANDED,
    NF_FIRST,
    NF_LAST,
    CGROUP_OUT,
    CGROUP_IN,
    DEV_QUEUE,
    XMIT,
    NETIF_IN,
    KFREE,
    CONSUME,
    JOURNEYS,
    DROPS,
    XDP,
    XDP_GENERIC,
    TC_IN,
    TC_OUT,
    XDP_OLD,
    IN_OLD,
    OUT_OLD,
    TALLY_XDP,
    TALLY_IN,
    TALLY_OUT,
    TALLY_DROP,
    SKIPS,
    RULE_INDEX,
    RULES,
    RULE_STATS,
    RULE_STATES,
    FLOWS,
    NEW_FLOW,
    PENDING,
    TRACKING,
    EVENTS,
    GUARD_XDP,
    GUARD_XDP_GENERIC,
    GUARD_IN,
    GUARD_OUT,
    GUARD_SETS,
    GUARD_STATES,
    GUARD_COUNTS,
    GUARD_DROPS,
    GUARD_NOTES,
    GUARD,
];

const _: () = {
    let mut index = 0;
    while index < ALL.len() {
        assert!(ALL[index].len() <= NAME_LIMIT);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_says_whose_it_is_and_none_is_used_twice() {
        for (index, name) in ALL.iter().enumerate() {
            assert!(name.starts_with("probe_"), "{name}");
            assert!(!ALL[..index].contains(name), "{name}");
        }
    }
}

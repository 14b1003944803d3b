//! The maps, and nothing else. Each has one writer in this crate: the file that is named after its content.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use probe_ebpf::{
    Flow, FlowKey, FollowedEntry, GuardCount, GuardRecord, GuardSet, GuardState, HandedProbes, Passage, Pending,
    PendingKey, Rule, RuleIndex, RuleState, RuleStats, Skip, Tally, Tunnels, filter::MAX_RULES, tally::IDS,
};

use super::guard::note::GuardNote;

/// The user half maps these arrays into its memory: a snapshot costs no system call.
const MMAPABLE: u32 = 1 << 10;

/// The size of a map that the job does not use. The user half sets the real size of those that it uses.
const UNUSED: u32 = 1;

/// The smallest ring that every page size allows.
const UNUSED_RING: u32 = 1 << 16;

#[map(name = "probe_tal_xdp")]
pub(crate) static TALLY_XDP: Array<Tally> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_tal_in")]
pub(crate) static TALLY_IN: Array<Tally> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_tal_out")]
pub(crate) static TALLY_OUT: Array<Tally> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_tal_drop")]
pub(crate) static TALLY_DROP: Array<Tally> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_skips")]
pub(crate) static SKIPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Skip::COUNT as u32, 0);

#[map(name = "probe_r_index")]
pub(crate) static RULE_INDEX: Array<RuleIndex> = Array::with_max_entries(IDS, MMAPABLE);

#[map(name = "probe_rules")]
pub(crate) static RULES: Array<Rule> = Array::with_max_entries(MAX_RULES as u32, 0);

#[map(name = "probe_r_stats")]
pub(crate) static RULE_STATS: PerCpuArray<RuleStats> = PerCpuArray::with_max_entries(MAX_RULES as u32, 0);

#[map(name = "probe_r_states")]
pub(crate) static RULE_STATES: Array<RuleState> = Array::with_max_entries(MAX_RULES as u32, 0);

#[map(name = "probe_flows")]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(UNUSED, 0);

/// One flow that nobody writes to: a new flow is a copy of it, because it is larger than a program's stack.
#[map(name = "probe_new_flow")]
pub(crate) static NEW_FLOW: Array<Flow> = Array::with_max_entries(1, 0);

#[map(name = "probe_pending")]
pub(crate) static PENDING: HashMap<PendingKey, Pending> = HashMap::with_max_entries(UNUSED, 0);

/// 1 once every hop is attached: earlier packets are not followed, since their way back may not be watched yet.
#[map(name = "probe_tracking")]
pub(crate) static TRACKING: Array<u32> = Array::with_max_entries(1, 0);

#[map(name = "probe_events")]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(UNUSED_RING, 0);

#[map(name = "probe_journeys")]
pub(crate) static JOURNEYS: Array<Passage> = Array::with_max_entries(UNUSED, MMAPABLE);

/// Devices of other network namespaces by slot ([`probe_ebpf::contract::crossing::site_word`]); 0: none yet.
#[map(name = "probe_sites")]
pub(crate) static SITES: Array<u64> = Array::with_max_entries(UNUSED, MMAPABLE);

/// The slot of each of them.
#[map(name = "probe_site_slot")]
pub(crate) static SITE_SLOTS: HashMap<u64, u32> = HashMap::with_max_entries(UNUSED, 0);

/// How many slots were given.
#[map(name = "probe_site_num")]
pub(crate) static SITE_COUNT: Array<u64> = Array::with_max_entries(1, 0);

#[map(name = "probe_crossings")]
pub(crate) static CROSSINGS: Array<Passage> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_followed")]
pub(crate) static FOLLOWED: Array<FollowedEntry> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_f_keys")]
pub(crate) static FOLLOW_KEYS: HashMap<u64, u32> = HashMap::with_max_entries(UNUSED, 0);

#[map(name = "probe_f_others")]
pub(crate) static FOLLOW_OTHERS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(UNUSED, 0);

#[map(name = "probe_f_count")]
pub(crate) static FOLLOW_COUNT: Array<u64> = Array::with_max_entries(1, 0);

#[map(name = "probe_f_sights")]
pub(crate) static FOLLOW_SIGHTS: Array<u32> = Array::with_max_entries(1, 0);

/// The slot of each network namespace whose netfilter hooks are watched ([`probe_ebpf::contract::hook::hook_key`]). Only the
/// user half writes it.
#[map(name = "probe_hook_slot")]
pub(crate) static HOOK_SLOTS: HashMap<u64, u32> = HashMap::with_max_entries(UNUSED, 0);

#[map(name = "probe_hooks")]
pub(crate) static HOOKS: Array<Passage> = Array::with_max_entries(UNUSED, MMAPABLE);

/// The tunnels that are opened. Only the user half writes it.
#[map(name = "probe_tunnels")]
pub(crate) static TUNNELS: Array<Tunnels> = Array::with_max_entries(1, 0);

/// Packets of programs that hold tun devices, and the probe that each is ([`probe_ebpf::tunnel::sealed_probe`]).
#[map(name = "probe_sealed")]
pub(crate) static SEALED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(UNUSED, 0);

/// The probes that were last handed to those programs, by the inode of the network namespace.
#[map(name = "probe_sealing")]
pub(crate) static SEALING: LruHashMap<u32, HandedProbes> = LruHashMap::with_max_entries(UNUSED, 0);

#[map(name = "probe_absorbed")]
pub(crate) static ABSORBED: RingBuf = RingBuf::with_byte_size(UNUSED_RING, 0);

#[map(name = "probe_drops")]
pub(crate) static DROPS: RingBuf = RingBuf::with_byte_size(UNUSED_RING, 0);

/// Packets of ARP and neighbour discovery.
#[map(name = "probe_neighbour")]
pub(crate) static NEIGHBOURS: RingBuf = RingBuf::with_byte_size(UNUSED_RING, 0);

/// What each processor has just handed to a driver: the address of the skb, and its passage.
#[map(name = "probe_handed")]
pub(crate) static HANDED: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

#[map(name = "probe_g_sets")]
pub(crate) static GUARD_SETS: Array<GuardSet> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_g_states")]
pub(crate) static GUARD_STATES: Array<GuardState> = Array::with_max_entries(UNUSED, 0);

#[map(name = "probe_g_counts")]
pub(crate) static GUARD_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(GuardCount::COUNT as u32, 0);

#[map(name = "probe_g_drops")]
pub(crate) static GUARD_DROPS: Array<u64> = Array::with_max_entries(UNUSED, MMAPABLE);

#[map(name = "probe_guard")]
pub(crate) static GUARD: Array<GuardRecord> = Array::with_max_entries(1, 0);

/// The guard's notes on the packet that each processor has just read, by direction.
#[map(name = "probe_g_notes")]
pub(crate) static NOTES: PerCpuArray<GuardNote> = PerCpuArray::with_max_entries(2, 0);

//! What bpf(2) reads and writes: each structure is the part of `union bpf_attr` (`include/uapi/linux/bpf.h`) that its
//! command knows, in the machine's byte order. The kernel takes what follows as zero; pointers are 64 bits wide everywhere.

use bytemuck::{Pod, Zeroable};

/// `BPF_OBJ_NAME_LEN`, the final zero included.
const NAME_BYTES: usize = 16;

/// For `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct MapCreate {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) map_flags: u32,
    pub(super) inner_map_fd: u32,
    pub(super) numa_node: u32,
    pub(super) map_name: [u8; NAME_BYTES],
}

/// For `BPF_PROG_LOAD`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ProgLoad {
    pub(super) prog_type: u32,
    pub(super) insn_cnt: u32,
    pub(super) insns: u64,
    pub(super) license: u64,
    pub(super) log_level: u32,
    pub(super) log_size: u32,
    pub(super) log_buf: u64,
    pub(super) kern_version: u32,
    pub(super) prog_flags: u32,
    pub(super) prog_name: [u8; NAME_BYTES],
    pub(super) prog_ifindex: u32,
    pub(super) expected_attach_type: u32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GetFd {
    pub(super) id: u32,
    pub(super) next_id: u32,
    pub(super) open_flags: u32,
}

/// For `BPF_OBJ_GET`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ObjectGet {
    pub(super) pathname: u64,
    pub(super) bpf_fd: u32,
    pub(super) file_flags: u32,
}

/// For `BPF_MAP_LOOKUP_BATCH`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct LookupBatch {
    pub(crate) in_batch: u64,
    pub(crate) out_batch: u64,
    pub(crate) keys: u64,
    pub(crate) values: u64,
    pub(crate) count: u32,
    pub(crate) map_fd: u32,
    pub(crate) elem_flags: u64,
    pub(crate) flags: u64,
}

/// For the commands on one element of a map.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Element {
    pub(crate) map_fd: u32,
    pub(crate) padding: u32,
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) flags: u64,
}

/// For `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GetInfo {
    pub(super) fd: u32,
    pub(super) info_len: u32,
    pub(super) info: u64,
}

/// The first part of `struct bpf_prog_info`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ProgInfo {
    pub(super) prog_type: u32,
    pub(super) id: u32,
    pub(super) tag: [u8; 8],
    pub(super) jited_prog_len: u32,
    pub(super) xlated_prog_len: u32,
    pub(super) jited_prog_insns: u64,
    pub(super) xlated_prog_insns: u64,
    pub(super) load_time: u64,
    pub(super) created_by_uid: u32,
    pub(super) nr_map_ids: u32,
    pub(super) map_ids: u64,
    pub(super) name: [u8; NAME_BYTES],
}

/// For `BPF_PROG_QUERY`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ProgQuery {
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) query_flags: u32,
    pub(super) attach_flags: u32,
    pub(super) prog_ids: u64,
    pub(super) count: u32,
    pub(super) padding: u32,
    pub(super) prog_attach_flags: u64,
    pub(super) link_ids: u64,
    pub(super) link_attach_flags: u64,
    pub(super) revision: u64,
}

/// For `BPF_LINK_CREATE`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LinkCreate {
    pub(super) prog_fd: u32,
    pub(super) target: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) relative_fd: u32,
    pub(super) padding: u32,
    pub(super) expected_revision: u64,
}

/// For `BPF_LINK_CREATE` of a netfilter program.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LinkCreateNetfilter {
    pub(super) prog_fd: u32,
    pub(super) target: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) protocol: u32,
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) netfilter_flags: u32,
}

/// For `BPF_PROG_QUERY` of a cgroup: what every kernel with cgroup links knows of it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct QueryCgroup {
    pub(super) target_fd: u32,
    pub(super) attach_type: u32,
    pub(super) query_flags: u32,
    pub(super) attach_flags: u32,
    pub(super) prog_ids: u64,
    pub(super) count: u32,
    pub(super) padding: u32,
}

/// For `BPF_LINK_UPDATE`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LinkUpdate {
    pub(super) link_fd: u32,
    pub(super) new_prog_fd: u32,
    pub(super) flags: u32,
    pub(super) old_prog_fd: u32,
}

/// For `BPF_LINK_DETACH`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LinkDetach {
    pub(super) link_fd: u32,
}

/// Returns `name` as the kernel stores it: cut to 15 bytes and padded with zeros.
pub(super) fn object_name(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (place, byte) in bytes.iter_mut().take(NAME_BYTES - 1).zip(name.bytes()) {
        *place = byte;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_laid_out_as_the_kernel_reads_them() {
        assert_eq!(std::mem::offset_of!(ProgLoad, prog_name), 48);
        assert_eq!(std::mem::offset_of!(MapCreate, map_name), 28);
        assert_eq!(std::mem::offset_of!(ProgInfo, name), 64);
        assert_eq!(std::mem::offset_of!(ProgQuery, prog_ids), 16);
        assert_eq!(std::mem::offset_of!(LinkCreate, expected_revision), 24);
        assert_eq!(std::mem::offset_of!(LinkCreateNetfilter, priority), 24);
    }

    #[test]
    fn a_name_is_cut_to_what_the_kernel_keeps() {
        assert_eq!(&object_name("probe_trial_and_more"), b"probe_trial_and\0");
        assert_eq!(&object_name("probe")[..6], b"probe\0");
    }
}

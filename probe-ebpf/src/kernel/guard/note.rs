//! What the guard notes of a packet between parsing it and looking it up in its table.

use probe_ebpf::GuardKey;

/// What the table must know of a packet. It goes through memory of which the verifier knows nothing. So the thousands of
/// paths through the parser meet before the table, and the verifier does not follow each of them through the table as well.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GuardNote {
    /// The key of its state.
    pub(super) key: GuardKey,
    /// The end that sends requests, whether or not it is part of the key.
    pub(super) asker: [u64; 2],
    /// 1: it is a request for which replies may pass; 0: a reply that needs one.
    pub(super) asks: u64,
}

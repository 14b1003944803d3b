//! What the guard notes of a packet between parsing it and asking its table.

use probe_ebpf::GuardKey;

/// What the table must know of a packet. It goes through memory of which the verifier knows nothing: the ways through
/// the parser, of which there are thousands, then meet before the table, and each is not followed through it as well.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GuardNote {
    /// The key of its state.
    pub(super) key: GuardKey,
    /// The end that sends requests, whether or not the key holds it.
    pub(super) asker: [u64; 2],
    /// 1: it is a request for which replies may pass; 0: a reply that needs one.
    pub(super) asks: u64,
}

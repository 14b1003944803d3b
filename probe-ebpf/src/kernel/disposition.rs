//! What becomes of a packet that a hop could read. Only `main.rs` turns it into what the kernel understands.

/// What a hop does with a packet that it could read.
#[derive(Clone, Copy)]
pub(crate) enum Disposition {
    /// Counted; goes on.
    Pass,
    /// Counted; one of the filter's rules ends it here.
    Drop,
    /// Counted and told; kept from the kernel because the run wants it so.
    Absorb,
    /// Counted; made into its own reply, which goes back by the way it came.
    Answer,
}

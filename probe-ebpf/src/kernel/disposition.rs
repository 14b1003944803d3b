//! What happens to a packet that a hop could read. Only `main.rs` turns it into the kernel's return codes.

/// What a hop does with a packet that it could read.
#[derive(Clone, Copy)]
pub(crate) enum Disposition {
    /// Counted; goes on.
    Pass,
    /// Counted; dropped by one of the filter's rules.
    Drop,
    /// Counted and reported; kept from the kernel because the run asks for it.
    Absorb,
    /// Counted; turned into its own reply, which goes back the way it came.
    Answer,
}

//! README and `docs/`: pages that are made from the code are as it has them, and what they show can be repeated.

mod causes;
mod excused;
mod figures;
mod hops;
mod json;
mod masked;
mod pages;
mod sessions;
mod sources;
mod transcripts;

use std::path::PathBuf;

/// The checkout.
fn repo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

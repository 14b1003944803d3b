//! kernel programs
fn main() {}

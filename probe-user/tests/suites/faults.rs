//! The fault catalogue as `probe lab faults` and its runner use it; the faults themselves are cases.

mod command;
mod scoring;

/// One test at a time: one of them sweeps away what runs leave, and may not meet another that has just begun.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Waits for its turn, if the test can run at all: as root.
fn turn(test: &str) -> Option<std::sync::MutexGuard<'static, ()>> {
    crate::common::is_root(test).then(|| TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

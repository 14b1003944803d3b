//! The fault catalogue on the real kernel: each fault breaks exactly what it says, and healthy cases deliver.

mod command;
mod counts;
mod events;
mod scoring;
mod truth;

/// One test at a time: a case with a cgroup moves this whole process into it.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Waits for its turn, if the test can run at all: as root.
fn turn(test: &str) -> Option<std::sync::MutexGuard<'static, ()>> {
    crate::common::is_root(test).then(|| TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

//! Runs several tasks at a time, on one thread per processor plus a few that mostly wait.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
};

/// A task, run once.
pub(super) type Task<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Threads beyond the number of processors: they wait for the kernel, and leave their processor to others meanwhile.
const WAITING: usize = 2;

/// No attach has more tasks than this at a time.
const MOST: usize = 8;

/// Runs all of `tasks`, starting them in order, in the calling thread's network namespace; returns their results in no
/// particular order. If the system refuses more threads, fewer do the work.
pub(super) fn run<T: Send>(tasks: Vec<Task<'_, T>>) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from) + WAITING;
    let others = threads.min(MOST).min(tasks.len()).saturating_sub(1);
    let (left, done) = (Mutex::new(VecDeque::from(tasks)), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(task) = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
            let given = task();
            done.lock().unwrap_or_else(PoisonError::into_inner).push(given);
        }
    };
    thread::scope(|scope| {
        for _ in 0..others {
            // This thread does what no other takes.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_however_many_there_are() {
        for count in [0, 1, 3, 100] {
            let tasks = (0..count).map(|number| -> Task<'_, u32> { Box::new(move || number) }).collect();
            let mut given = run(tasks);
            given.sort_unstable();
            assert_eq!(given, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn tasks_that_wait_for_each_other_are_done_at_a_time() {
        let barrier = std::sync::Barrier::new(WAITING + 1);
        let tasks = (0..=WAITING).map(|_| -> Task<'_, bool> { Box::new(|| barrier.wait().is_leader()) }).collect();
        assert_eq!(run(tasks).into_iter().filter(|leader| *leader).count(), 1);
    }
}

//! One case as a test with a name, on its own thread, and which cases may run at the same time.

use std::{
    panic,
    sync::{PoisonError, RwLock},
    thread,
};

use libtest_mimic::{Completion, Failed, Trial};
use probe_ebpf::Family;

use crate::common::is_root;

/// What a case came to, where nothing is wrong.
pub(crate) enum Held {
    /// All is as it has to be.
    Yes,
    /// This machine lacks what the case needs; the reason.
    NotTried(String),
}

/// Which cases may run at the same time as this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Any other case: it touches nothing but memory.
    Everyone,
    /// Other labs.
    Labs,
    /// No lab: it changes what all labs share, such as the cgroup of this process.
    Nobody,
}

/// Held by whoever has a lab.
static LABS: RwLock<()> = RwLock::new(());

/// The test `name`, which says what is wrong. With a lab, it needs root.
pub(crate) fn trial(
    name: String,
    beside: Beside,
    work: impl FnOnce() -> Result<Held, String> + Send + 'static,
) -> Trial {
    let told = name.clone();
    let turn = move || {
        if beside == Beside::Everyone {
            return work();
        }
        if !is_root(&told) {
            return Ok(Held::Yes);
        }
        let _shared = (beside == Beside::Labs).then(|| LABS.read().unwrap_or_else(PoisonError::into_inner));
        let _alone = (beside == Beside::Nobody).then(|| LABS.write().unwrap_or_else(PoisonError::into_inner));
        work()
    };
    let thread = thread::Builder::new().name(name.clone());
    Trial::ignorable_test(name, move || {
        // What a case does to its thread, such as mounts of its own, ends with it.
        let worker = thread.spawn(turn).map_err(|error| Failed::from(format!("no thread: {error}")))?;
        match worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))? {
            Held::Yes => Ok(Completion::Completed),
            Held::NotTried(why) => Ok(Completion::ignored_with(format!("not tried: {why}"))),
        }
    })
}

/// `v4` or `v6`, as names have it.
pub(crate) fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    }
}

/// A title as the name of a test: words in small letters, joined by underscores.
pub(crate) fn slug(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

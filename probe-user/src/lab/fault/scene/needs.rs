//! Whether this machine has what a scene needs: found by trying it, once a process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{super::tool, SceneNeed};
use crate::lab::{LabError, Netns};

/// What was tried, and whether it worked.
static TRIED: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

/// Returns whether the script of `need` works, in a namespace that is removed afterwards.
pub(super) fn is_there(need: &SceneNeed) -> Result<bool, LabError> {
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(works) = tried.get(&need.script) {
        return Ok(*works);
    }
    let works = tool::script(&Netns::new()?, &need.script).is_ok();
    tried.insert(need.script.clone(), works);
    Ok(works)
}

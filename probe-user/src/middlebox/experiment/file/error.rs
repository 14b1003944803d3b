//! An experiment file that cannot be used, and its mend.

use thiserror::Error;

use crate::{error::Mend, model::toml_fault::TomlFault};

/// An experiment file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct ScriptError(#[from] TomlFault);

impl Mend for ScriptError {
    fn fix(&self) -> String {
        "fix that line; probe experiment --print id-mismatch shows a valid file".to_owned()
    }
}

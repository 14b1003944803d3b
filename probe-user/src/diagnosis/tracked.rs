//! What a diagnosis says of connection tracking.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::trace::TrackedEcho;

/// What connection tracking of a place knows of the run's echoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrackedPlace {
    /// The place, by its name in `places`.
    pub place: String,
    /// The entries of the run's echoes, after the last of them.
    pub entries: Vec<TrackedEcho>,
    /// Those that were there before the first packet of the run, as they were then; null if that is not known.
    pub before: Option<Vec<TrackedEcho>>,
    /// Why that is not known; absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_unknown: Option<String>,
    /// How many entries there are, of any kind (`nf_conntrack_count`).
    pub count: Option<u64>,
    /// How many entries are allowed (`nf_conntrack_max`); 0: any number.
    pub most: Option<u64>,
}

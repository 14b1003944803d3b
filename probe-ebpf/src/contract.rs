//! What both halves agree on, one subject per file.

pub mod absorb;
pub mod config;
pub mod crossing;
pub mod drops;
pub mod event;
pub mod filter;
pub mod flow;
pub mod follow;
pub mod guard;
pub mod hook;
pub mod hop;
pub mod journey;
#[cfg(feature = "serde")]
mod json;
pub mod kind;
pub mod names;
pub mod neighbour;
pub mod offsets;
pub mod site;
pub mod skip;
pub mod tally;
pub mod tunnel;

pub use absorb::AbsorbEvent;
pub use config::Config;
pub use drops::DropEvent;
pub use event::{Event, EventHead};
pub use filter::{Rule, RuleIndex, RuleState, RuleStats};
pub use flow::{Flow, FlowKey, Pending, PendingKey};
pub use follow::FollowedEntry;
pub use guard::{GuardConfig, GuardCount, GuardKey, GuardRecord, GuardSet, GuardState};
pub use hop::Hop;
pub use journey::{Mark, Passage};
pub use kind::{Direction, Echo, Family, Kind};
pub use neighbour::{NeighbourEvent, NeighbourMessage};
pub use offsets::Offsets;
pub use site::EventSite;
pub use skip::Skip;
pub use tally::{Count, Tally};
pub use tunnel::{HandedProbes, Tunnels};

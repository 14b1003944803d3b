//! What a stateful box between two hosts does to ping: timelines of packets, who plays them, scripted experiments, and the
//! datasheet of what the box remembers.

pub mod datasheet;
pub mod experiment;
pub mod player;
pub mod timeline;

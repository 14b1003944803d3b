//! What a stateful box between two hosts does to ping: timelines of packets, their player, scripted experiments, and
//! the datasheet of the state that the box keeps.

pub mod datasheet;
pub mod experiment;
pub mod player;
pub mod timeline;

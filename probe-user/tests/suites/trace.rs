//! Journeys and drop events on the real kernel, in the lab: which hop saw which probe, and who dropped it and why.

mod faults;
mod frames;
mod healthy;
mod ping;
mod privilege;
mod strangers;
mod tagged;
mod watched;

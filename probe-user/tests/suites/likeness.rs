//! Likeness: with the same flags on the same host, `probe diagnose` is answered where `ping` is, and as often.

mod flags;
mod pairs;
mod sender;
mod world;
mod zeros;

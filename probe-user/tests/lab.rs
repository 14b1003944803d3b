//! The lab on the real kernel: what its firewall lets through, that it leaves nothing behind, and that it can stand.

#[path = "lab/alone.rs"]
mod alone;
mod common;
#[path = "common/copy.rs"]
mod copy;
#[path = "lab/echo.rs"]
mod echo;
#[path = "lab/mending.rs"]
mod mending;
#[path = "lab/run.rs"]
mod run;
#[path = "lab/standing.rs"]
mod standing;

//! The lab on the real kernel: what its firewall lets through, that it leaves nothing behind, and that it can stand.

mod alone;
mod baseline;
mod echo;
mod mending;
mod run;
mod standing;

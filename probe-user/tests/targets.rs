//! Diagnoses through devices on top of devices, and to this very host: healthy is healthy, counted once, and what dies
//! below or behind them is located. Kinds that the kernel has not got are passed over, loudly.

mod common;
#[path = "honesty/diagnosed.rs"]
mod diagnosed;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "targets/here.rs"]
mod here;
#[path = "targets/stacked.rs"]
mod stacked;

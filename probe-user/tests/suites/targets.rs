//! Diagnoses through devices on top of devices, and to this very host: healthy is healthy, counted once, and what dies
//! below or behind them is located. Kinds that the kernel has not got are passed over, loudly.

mod carried;
mod here;
mod redirected;
mod stacked;
mod tun_program;

//! A healthy path is never accused, whatever else goes on, and what a diagnosis lost it says: 11,264 healthy echoes.

mod common;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "honesty/accounting.rs"]
mod accounting;
#[path = "honesty/diagnosed.rs"]
mod diagnosed;
#[path = "honesty/noise.rs"]
mod noise;
#[path = "honesty/ping_socket.rs"]
mod ping_socket;
#[path = "honesty/shapes.rs"]
mod shapes;

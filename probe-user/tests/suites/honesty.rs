//! A healthy path is never accused, whatever else goes on, and what a diagnosis lost it says: 11,264 healthy echoes.

mod accounting;
pub(crate) mod diagnosed;
mod noise;
mod ping_socket;
mod shapes;

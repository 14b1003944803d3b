//! Model boxes with a virtual clock are characterized as what they are: every fact, under loss, in series, interrupted.

mod boxes;
mod link;
mod nat;
mod random;
mod series;
mod truth;
mod whole;

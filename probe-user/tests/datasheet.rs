//! Model boxes with a virtual clock are characterised as what they are: every fact, under loss, in series, interrupted.

#[path = "datasheet/boxes.rs"]
mod boxes;
#[path = "datasheet/link.rs"]
mod link;
#[path = "datasheet/nat.rs"]
mod nat;
#[path = "datasheet/random.rs"]
mod random;
#[path = "datasheet/series.rs"]
mod series;
#[path = "datasheet/truth.rs"]
mod truth;
#[path = "datasheet/whole.rs"]
mod whole;

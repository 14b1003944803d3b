//! What holds for the verdict of every run; single runs and their verdicts are cases.

mod places;
mod properties;
mod vias;

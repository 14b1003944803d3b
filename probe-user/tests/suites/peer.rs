//! Marked probes in the lab, and far ends over pipes: those that serve, and every way in which a command does not.

mod batches;
mod children;
mod commands;
mod deploy;
mod hostile;
mod probes;
mod responders;
mod verbs;

//! All ordinary tests of the `probe` binary and of what needs a real kernel, in one program that is linked once.

#[path = "../common/mod.rs"]
mod common;

mod datasheet;
mod deployment;
mod docs;
mod doctor;
mod faults;
mod filter;
mod follow;
mod guard;
mod honesty;
mod kernel;
mod kernel_log;
mod lab;
mod likeness;
mod lookups;
mod manual;
mod models;
mod netfilter;
mod observe;
mod path_watch;
mod peer;
mod places;
mod player;
mod receive;
mod schemas;
mod send;
mod targets;
mod trace;
mod trouble;
mod vary;
mod verdicts;
mod vias;
mod watch;

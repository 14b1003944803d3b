//! The lab on the real kernel: what its firewall lets through, that it leaves nothing behind, and that it can stand.

mod common;
#[path = "lab/echo.rs"]
mod echo;
#[path = "lab/instruments.rs"]
mod instruments;

use probe_user::{
    commands::lab::{chosen, run_all},
    lab::Topology,
    report::{self, Format, Style},
};

use crate::instruments::Sockets;

#[test]
fn the_four_experiments_come_out_as_designed() {
    if !common::root("the_four_experiments_come_out_as_designed") {
        return;
    }
    let start = std::time::Instant::now();
    let lab = Topology::build().expect("a lab");
    eprintln!("built in {:?}", start.elapsed());
    let mut instruments = Sockets::new(&lab);
    let (document, _) = run_all(&chosen(&[]), lab.families(), &mut instruments, || false).expect("experiments");
    let mut text = Vec::new();
    report::write(&mut text, &document, Format::Text, &Style { unicode: true, ..Style::plain() }).expect("memory");
    println!("{}", String::from_utf8_lossy(&text));
    assert!(document.as_expected);
    assert_eq!(document.experiments.len(), 8);
    eprintln!("all in {:?}", start.elapsed());
}

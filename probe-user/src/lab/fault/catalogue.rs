//! The rows of the catalogue, one file for each place; adding a fault is adding a row.

mod healthy;
mod neighbour;
mod network;
mod receiver;
mod receiver_late;
mod receiver_route;
mod sender;
mod sender_device;

use super::{ExpectedDiagnosis, Fault, FaultLocation, Probe, REQUEST};

/// The defaults of a row.
const ROW: Fault = Fault {
    name: "",
    title: "",
    families: super::BOTH,
    place: FaultLocation::Nothing,
    legs: REQUEST,
    actions: &[],
    probe: Probe::PLAIN,
    expected: ExpectedDiagnosis::DELIVERED,
    needs: None,
};

/// One base chain with one rule, in a table of its own.
macro_rules! chain {
    ($hook:literal, $priority:literal, $rule:literal) => {
        concat!(
            "table inet probe_fault { chain ",
            $hook,
            " { type filter hook ",
            $hook,
            " priority ",
            $priority,
            "; ",
            $rule,
            ";\n}\n}\n"
        )
    };
}

/// One base chain of a device with one rule, in a table of its own.
macro_rules! device_chain {
    ($hook:literal, $device:literal, $rule:literal) => {
        concat!(
            "table netdev probe_fault { chain ",
            $hook,
            " { type filter hook ",
            $hook,
            " device \"",
            $device,
            "\" priority 0; ",
            $rule,
            ";\n}\n}\n"
        )
    };
}

use {chain, device_chain};

/// Iterates over every row, in the order in which cases are run.
pub(super) fn rows() -> impl Iterator<Item = &'static Fault> {
    let files = [
        healthy::ROWS,
        sender::ROWS,
        sender_device::ROWS,
        neighbour::ROWS,
        network::ROWS,
        receiver::ROWS,
        receiver_route::ROWS,
        receiver_late::ROWS,
    ];
    files.into_iter().flatten()
}

/// Iterates over the rows that a command cannot try.
pub(super) fn own_socket() -> impl Iterator<Item = &'static Fault> {
    receiver_late::OWN_SOCKET.iter()
}

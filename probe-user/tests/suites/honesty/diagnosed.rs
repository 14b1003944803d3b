//! `probe diagnose` between two namespaces, and what must hold of a path on which every probe is answered.

use std::os::fd::{AsFd, AsRawFd};

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    net::Pair,
    run::{Ran, command},
};

/// How `probe agent` is reached on B: by the handle that this process holds, as the namespace has no name.
pub(crate) fn peer(netns: &Netns) -> String {
    let handle = netns.as_fd().as_raw_fd();
    format!("nsenter --net=/proc/{}/fd/{handle} {} agent", std::process::id(), env!("CARGO_BIN_EXE_probe"))
}

/// Diagnoses from A, with the far end on B.
pub(crate) fn diagnosed(pair: &Pair, words: &str) -> Ran {
    diagnosed_under(pair, words, &[])
}

/// The same with these variables in the environment of both ends.
pub(crate) fn diagnosed_under(pair: &Pair, words: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = command(&pair.a, &format!("diagnose {words}"));
    command.arg("--peer").arg(peer(&pair.b)).envs(variables.iter().copied());
    Ran::of(command.output().expect("probe starts"))
}

/// Asserts that all of `count` probes were answered, and that nothing is accused.
pub(crate) fn acquitted(what: &str, ran: &Ran, count: u64) -> Value {
    assert_eq!(ran.code, 0, "{what}: {}\n{}", ran.stdout, ran.stderr);
    let document = ran.json();
    let verdict = &document["verdict"];
    assert_eq!(document["stops"], Value::Array(Vec::new()), "{what}: {verdict}");
    assert_eq!((&verdict["outcome"], &verdict["confidence"]), (&"delivered".into(), &"certain".into()), "{what}");
    assert_eq!((&document["sent"], &document["answered"]), (&count.into(), &count.into()), "{what}");
    for counter in ["events_lost", "maps_full"] {
        assert_eq!(document["accounting"][counter], 0, "{what}: {}", document["accounting"]);
    }
    for hop in document["hops"].as_array().expect("hops") {
        // Nothing counts twice: fragments, loops and devices on devices included.
        assert!(hop["packets"].as_u64().unwrap_or(0) <= count, "{what}: {hop}");
    }
    document
}

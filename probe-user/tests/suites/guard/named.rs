//! `probe diagnose` names a guard's drops.

use crate::common::{
    is_root,
    net::{Pair, own_bpffs},
    run::probe,
};

#[test]
fn a_diagnosis_says_that_it_was_the_guard() {
    if !is_root("a_diagnosis_says_that_it_was_the_guard") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    // A's requests leave through va, the guarded way.
    probe(&pair.a, "filter guard -I va --protect out --deny-requests").done();
    let ran = probe(&pair.a, "diagnose 10.9.0.2 -c 3 -i 0.01 -W 1 --format json");
    let document = ran.json();
    let stop = &document["stops"][0];
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!((&stop["layer"], &stop["cause"]["reason"]), (&"tc".into(), &"PROBE_FILTER".into()), "{document}");
    let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("probe's own guard"), "{sentence}");
}

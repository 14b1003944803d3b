//! What cannot be: one sentence and what mends it.

use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs},
    run::probe,
};

#[test]
fn what_makes_no_guard_is_refused_with_its_fix_and_nothing_is_left() {
    if !is_root("what_makes_no_guard_is_refused_with_its_fix_and_nothing_is_left") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    for (words, told) in [
        (
            "-I vb --protect both --deny-requests",
            "lets no ping through, so no reply could ever pass — choose --protect in or out",
        ),
        ("-I vb --states 15", "room for 16 to 1048576 states, not 15 — choose --states"),
        (
            "-I vb --key port",
            "'port' is not a field of a ping; the fields are addresses, source, destination, id, seq, code",
        ),
        ("-I vb --refresh sometimes", "'sometimes' is neither request nor reply"),
        ("-I vb --timeout 0", "must be more than 0 seconds"),
        ("-I nowhere", "nowhere"),
        ("", "--interface"),
    ] {
        let ran = probe(&pair.b, &format!("filter guard {words}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (2, "", 1), "{words}: {ran:?}");
        assert!(ran.stderr.contains(told), "{words}: {ran:?}");
    }
    assert!(programs(&pair.b, "vb").is_empty());
    let none = probe(&pair.b, "filter remove guard");
    assert!(none.code == 2 && none.stderr.contains("there is no guard"), "{none:?}");
}

#[test]
fn an_interface_has_one_guard() {
    if !is_root("an_interface_has_one_guard") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter guard -I vb").done();
    for words in ["filter guard -I vb --key id", "filter guard -I vb --until-exit"] {
        let ran = probe(&pair.b, words);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.stderr.contains("vb has a guard already — remove it first: probe filter remove guard -I vb"),
            "{ran:?}"
        );
    }
    probe(&pair.b, "filter guard -I lo").done();
    let both = probe(&pair.b, "filter remove guard");
    assert!(
        both.stderr.contains("several interfaces have a guard: lo, vb") || both.stderr.contains("vb, lo"),
        "{both:?}"
    );
    probe(&pair.b, "filter remove guard -I lo").done();
    probe(&pair.b, "filter remove guard").done();
    crate::filter::host::expect_bare(&pair.b, "vb");
}

//! `probe lab characterize` as it is typed: its table, its list, and bad input; the models themselves are cases.

use std::process::{Command, Output};

fn characterize(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    let Output { status, stdout, stderr } =
        command.args(["lab", "characterize"]).args(words).output().expect("probe starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_box_without_a_memory_is_told_from_one_with() {
    if !crate::common::is_root("a_box_without_a_memory_is_told_from_one_with") {
        return;
    }
    let (code, text, stderr) = characterize(&["invalid-passes", "-4", "--only", "size"]);
    assert_eq!(code, Some(0), "{text}{stderr}");
    assert!(text.contains("invalid-passes") && text.contains("2/2") && text.contains("2 of 2 facts right"), "{text}");
}

#[test]
fn the_list_and_bad_input_need_no_privilege() {
    let (code, text, stderr) = characterize(&["--list"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(text.contains("20s-then-10s") && text.contains("where it differs"), "{text}");
    let (code, _, stderr) = characterize(&["conntrak-5s"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean conntrack-5s?"), "{stderr}");
    let (code, _, stderr) = characterize(&["--quick", "--only", "timeout"]);
    assert_eq!((code, stderr.contains("--only")), (Some(2), true), "{stderr}");
}

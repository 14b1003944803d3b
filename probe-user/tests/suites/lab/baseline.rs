//! Namespaces of ours do not take the machine's settings.

use std::{fs, path::PathBuf};

use probe_user::lab::{Netns, baseline};

use crate::common;

fn file(path: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(path)
}

/// The settings of this kernel that have another value than the baseline's, as `path=value`.
fn others() -> Vec<String> {
    let differs = |(path, value): (String, &str)| {
        let now = fs::read_to_string(file(&path)).ok()?;
        (now.trim() != value).then(|| format!("{path}={}", now.trim()))
    };
    baseline::settings().into_iter().filter_map(differs).collect()
}

#[test]
fn a_new_namespace_has_the_baseline_whatever_the_machine_has() {
    if !common::is_root("a_new_namespace_has_the_baseline_whatever_the_machine_has") {
        return;
    }
    let netns = Netns::new().expect("a namespace");
    assert_eq!(netns.run(others).expect("inside"), [""; 0]);
}

#[test]
fn the_baseline_is_restored_from_any_settings() {
    if !common::is_root("the_baseline_is_restored_from_any_settings") {
        return;
    }
    let netns = Netns::new().expect("a namespace");
    let (changed, left) = netns
        .run(|| {
            for (path, value) in baseline::settings() {
                // Some depend on others: what counts is how many are wrong in the end.
                let _ = fs::write(file(&path), if value == "0" { "1" } else { "0" });
            }
            let changed = others().len();
            baseline::apply().expect("it can be written");
            (changed, others())
        })
        .expect("inside");
    assert!(changed > baseline::settings().len() / 2, "only {changed} settings were changed");
    assert_eq!(left, [""; 0]);
}

//! Every flag of `ping -h` is taken, or refused in one line that says why.

use std::process::Stdio;

use crate::common::{
    self,
    net::Pair,
    run::{Ran, probe},
};

/// A value for each flag that takes one.
const VALUES: [(char, &str); 17] = [
    ('c', "1"),
    ('e', "77"),
    ('F', "5"),
    ('i', "0.1"),
    ('I', "lo"),
    ('l', "2"),
    ('m', "1"),
    ('M', "want"),
    ('N', "name"),
    ('p', "ff"),
    ('Q', "0x10"),
    ('s', "8"),
    ('S', "65536"),
    ('t', "9"),
    ('T', "tsonly"),
    ('w', "5"),
    ('W', "1"),
];

/// What probe refuses, and a word of why.
const REFUSED: [(char, &str); 1] = [('N', "sends only echo")];

/// Flags that do not go with the others: they contradict one, or end the program.
const ALONE: [char; 6] = ['6', 'F', 'T', 'h', 'V', 'N'];

#[test]
fn every_flag_of_pings_help_is_taken_or_refused_with_a_reason() {
    if !common::is_root("every_flag_of_pings_help_is_taken_or_refused_with_a_reason") {
        return;
    }
    let pair = Pair::new();
    let flags = flags_of_ping(&pair);
    assert!(flags.len() > 30, "{flags:?}");
    let mut together = String::new();
    for (flag, valued) in flags {
        let value = VALUES.iter().find(|(named, _)| *named == flag).map_or("", |(_, value)| value);
        assert_eq!(valued, !value.is_empty(), "-{flag} is new, or takes a value now");
        let words = format!("-{flag} {value}");
        if !ALONE.contains(&flag) {
            together += &format!("{words} ");
            continue;
        }
        let target = if matches!(flag, '6' | 'F' | 'N') { "::1" } else { "127.0.0.1" };
        let Ran { code, stdout, stderr } = probe(&pair.a, &format!("diagnose -c 1 -W 1 {words} {target}"));
        match REFUSED.iter().find(|(named, _)| *named == flag) {
            Some((_, why)) => {
                assert_eq!((code, stderr.lines().count()), (2, 1), "-{flag}: {stderr}");
                assert!(stderr.contains(why), "-{flag}: {stderr}");
            }
            None => assert_eq!(code, 0, "-{flag}: {stdout}{stderr}"),
        }
    }
    probe(&pair.a, &format!("diagnose {together} 127.0.0.1")).done();
}

/// The flags of its help, and whether each takes a value.
fn flags_of_ping(pair: &Pair) -> Vec<(char, bool)> {
    let output = pair.a.command("ping").arg("-h").stdin(Stdio::null()).output().expect("ping is there");
    let help = [output.stdout, output.stderr].concat();
    let help = String::from_utf8(help).expect("UTF-8");
    let flag = |line: &str| {
        let words = line.strip_prefix("  -")?;
        let flag = words.chars().next()?;
        Some((flag, words[flag.len_utf8()..].starts_with(" <")))
    };
    help.lines().filter_map(flag).collect()
}

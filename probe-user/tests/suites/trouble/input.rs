//! What cannot be meant: said in one line, as text and as a document, before anything is attached.

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs, sh},
    run::{Ran, probe},
};

/// What was typed, a part of the error, a part of its fix.
const BAD: [(&str, &str, &str); 41] = [
    ("observe", "--interface <IFACE>", "usage: probe observe --interface <IFACE>"),
    ("observe -I nosuch", "no interface 'nosuch' in this network namespace; there is ", "-I"),
    ("observe -I vd", "no interface 'vd'", "did you mean -I vb?"),
    ("observe -I vb -e 70000", "'70000' is not a number from 0 to 65535", "--help"),
    ("observe -I vb -e 9-3", "'9-3' is backwards: write the smaller id first", "--help"),
    ("observe -I vb -e -1", "unexpected argument '-1'", ""),
    ("observe -I vb -i 0", "must be more than 0 seconds", "--help"),
    ("observe -I vb -W never", "'never' is not a number of seconds", "--help"),
    ("observe -I vb --duration 1e12", "'1e12' is not a number of seconds from 0 to 31536000", "--help"),
    ("observe -I vb --xdp fast", "[possible values: auto, native, generic, off]", "--help"),
    ("observe -I lo --xdp native", "'lo' has no native XDP (loopback)", "use --xdp auto or --xdp generic"),
    ("observe -I vb --onse", "unexpected argument '--onse'", "a similar argument exists: '--once'"),
    ("receive -I nosuch", "no interface 'nosuch'", "-I"),
    ("receive -I vb -I nosuch", "no interface 'nosuch'", "-I"),
    ("receive -I vb --absorb", "--id <ID[-ID]>", "--absorb"),
    ("receive -I vb -c 0", "0 is not in 1..", "--help"),
    ("receive -I vb -4 -6", "cannot be used with '-6'", ""),
    ("receive -I vb -e 0x10000", "'0x10000' is not a number from 0 to 65535", "--help"),
    ("filter add -I nosuch -e 7", "no interface 'nosuch'", "-I"),
    ("filter add -e 7", "--interface <IFACE>", "usage: probe filter add --interface <IFACE>"),
    ("filter add -I vb", "this rule would match every echo packet", "--all-echo if that is meant"),
    ("filter add -I vb -4 --every 3", "this rule would match every echo packet", "--all-echo if that is meant"),
    ("filter add -I vb -S 10.1.2.3/8", "has bits set after its prefix: write 10.0.0.0/8", "--help"),
    ("filter add -I vb -S 10.1.2.3 -6", "addresses of both IP versions", "-S, -D and -4 or -6"),
    ("filter add -I vb -e 7 --rate fast", "'fast' is not a rate", "--help"),
    ("filter add -I vb -e 7 --probability 2", "'2' is not a probability", "--help"),
    ("filter add -I vb -e 7 --before 3", "there is no rule 3 on this interface and direction", "probe filter list"),
    ("filter add -I vb -e 7 --direction out --hook xdp", "XDP sees only incoming packets", "leave out --hook xdp"),
    ("filter add -I vb -e 7 --all-echo", "cannot be used with", "usage: probe filter add"),
    ("filter add -I vb -e seven", "'seven' is not a number from 0 to 65535", "--help"),
    ("filter add -I vb -e 7 --for 0", "must be more than 0 seconds", "--help"),
    ("filter add -I vb -e 7 --type ping", "[possible values: request, reply, both]", "--help"),
    ("filter add -I vb -e 7 --xdp off", "no XDP on vb", "choose --xdp generic or --xdp native"),
    ("filter list -I nosuch", "no interface 'nosuch'", "-I"),
    ("filter remove 1", "there is no rule 1", "probe filter list"),
    ("filter remove 0", "'0' is not the number of a rule", ""),
    ("filter remove one", "'one' is not the number of a rule; probe filter list shows them", ""),
    ("filter clear -I nosuch", "no interface 'nosuch'", "-I"),
    ("lab nosuch", "[possible values: normal, reply-only, many-replies, id-mismatch]", "--help"),
    ("lab exec a", "<COMMAND>", "usage: probe lab exec"),
    ("nonsense", "unrecognized subcommand 'nonsense'", "usage: probe"),
];

/// The document of a refusal, which must be all that stdout has.
fn refusal(ran: &Ran) -> Value {
    let document = ran.json();
    assert_eq!((ran.code, &document["schema"]), (2, &"probe.error/1".into()), "{ran:?}");
    document
}

fn expect_nothing(netns: &Netns) {
    assert!(programs(netns, "vb").is_empty() && programs(netns, "lo").is_empty());
    assert!(!std::path::Path::new("/sys/fs/bpf/probe").exists());
}

#[test]
fn bad_input_is_one_line_with_its_fix() {
    if !is_root("bad_input_is_one_line_with_its_fix") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    for (words, error, fix) in BAD {
        let text = probe(&pair.b, words);
        assert_eq!((text.code, text.stdout.as_str()), (2, ""), "{words}: {text:?}");
        assert_eq!(text.stderr.lines().count(), 1, "{words}: {text:?}");
        assert!(text.stderr.contains(error) && text.stderr.contains(fix), "{words}: {text:?}");
        let json = probe(&pair.b, &format!("{words} --format json"));
        let document = refusal(&json);
        let part = |field: &str, part: &str| document[field].as_str().is_some_and(|text| text.contains(part));
        assert!(part("error", error) && part("fix", fix), "{words}: {json:?}");
        assert_eq!(json.stderr.lines().count(), 1, "{words}: {json:?}");
    }
    expect_nothing(&pair.b);
}

#[test]
fn a_document_is_given_even_where_nothing_was_asked() {
    if !is_root("a_document_is_given_even_where_nothing_was_asked") {
        return;
    }
    let pair = Pair::new();
    refusal(&probe(&pair.b, "--format json"));
    refusal(&probe(&pair.b, "filter --format=json"));
    let help = probe(&pair.b, "");
    assert!(help.code == 2 && help.stdout.is_empty() && help.stderr.contains("Usage: probe"), "{help:?}");
}

#[test]
fn where_no_interface_is_up_there_is_nothing_to_receive() {
    if !is_root("where_no_interface_is_up_there_is_nothing_to_receive") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.b, "ip link set lo down; ip link set vb down");
    let ran = probe(&pair.b, "receive -W 1");
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains("no interface is up in this network namespace — ip link set dev IFACE up"), "{ran:?}");
}

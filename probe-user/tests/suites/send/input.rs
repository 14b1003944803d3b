//! Bad input: one clear line with its fix, exit 2, nothing sent.

use super::net::{send, send_text, sh, with_veth};

/// What was typed, a part of the error, a part of its fix.
const BAD: [(&str, &str, &str); 17] = [
    ("request no-such-name.invalid", "'no-such-name.invalid' does not resolve", "give an IP address"),
    ("request 10.9.0.2 -6", "'10.9.0.2' has no IPv6 address", "-4"),
    ("request fd09::2 -4", "'fd09::2' has no IPv4 address", "-6"),
    ("request fe80::1", "link-local", "fe80::1%IFACE"),
    ("request fe80::1%eth9", "no interface 'eth9' in this network namespace", "ip -br link"),
    ("request fe80::1%vb -I va", "names interface vb, and -I names va", "leave one"),
    ("request 10.9.0.2 -I eth9", "no interface 'eth9' in this network namespace", "ip -br link"),
    ("request fd09::2 -I v4", "interface v4 has no IPv6 address", "-4"),
    ("request 10.9.0.2 -S 10.1.1.1", "10.1.1.1 is not an address of this host", "ip -br addr"),
    ("request fd09::2 -S fd01::1", "fd01::1 is not an address of this host", "ip -br addr"),
    ("request fd09::2 -S fe80::1", "link-local", "-I IFACE"),
    ("request 10.9.0.2 -S fd09::1", "has no IPv6 address", "-4"),
    ("request 10.9.0.2 -e 70000", "'70000' is not a number from 0 to 65535", "--help"),
    ("request 10.9.0.2 -i soon", "'soon' is not a number of seconds", "--help"),
    ("request 10.9.0.2 -c 0", "0 is not in 1..", "--help"),
    ("request 10.9.0.2 -s 70000", "70000 is not in 0..=65507", "--help"),
    ("ping 10.9.0.2", "[possible values: request, reply]", "--help"),
];

#[test]
fn bad_input_is_one_sentence_with_its_fix() {
    with_veth("bad_input_is_one_sentence_with_its_fix", || {
        sh("ip link add name v4 type veth peer name v5 && ip link set v4 addrgenmode none && ip link set v4 up");
        sh("ip addr add 10.9.4.1/24 dev v4");
        for (words, error, fix) in BAD {
            let ran = send(words);
            assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{words}: {ran:?}");
            let json = ran.json();
            let part = |field: &str, part: &str| json[field].as_str().is_some_and(|text| text.contains(part));
            assert!(json["schema"] == "probe.error/1" && part("error", error) && part("fix", fix), "{words}: {ran:?}");
        }
    });
}

#[test]
fn bad_input_leaves_stdout_empty_for_people() {
    let ran = send_text("request 127.0.0.1 -I no-such-iface");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.starts_with("probe: no interface 'no-such-iface' in this network namespace"), "{ran:?}");
}

//! What a user is told to type: with the very setting and the very routing table that decide.

use serde_json::Value;

use super::{B, entered, routed, stopped_in};
use crate::common::{
    net::sh,
    run::{Ran, command},
};

/// The commands of a stop, as they are typed inside its namespace.
fn commands(stop: &Value, inside: &str) -> Vec<String> {
    let all = stop["commands"].as_array().expect("commands").iter();
    let all = all.map(|command| command["command"].as_str().expect("a command").to_owned());
    all.filter_map(|command| command.strip_prefix(&format!("{inside} ")).map(str::to_owned)).collect()
}

#[test]
fn a_limit_of_echo_replies_is_mended_by_its_own_setting() {
    let Some(lab) = routed("a_limit_of_echo_replies_is_mended_by_its_own_setting") else { return };
    sh(
        &lab.b,
        "sysctl -qw net.ipv4.icmp_ratemask=6169 net.ipv4.icmp_ratelimit=1000
         sysctl -qw net.ipv6.icmp.ratemask=0-1,3-127,129 net.ipv6.icmp.ratelimit=1000",
    );
    for (target, setting, default) in
        [(B[0], "net.ipv4.icmp_ratemask", "6168"), (B[1], "net.ipv6.icmp.ratemask", "0-1,3-127")]
    {
        // More than pass at once: six.
        let mut command = command(&lab.a, &format!("diagnose {target} -c 12 -i 0.02 --no-controls --format json"));
        command.env_remove("PROBE_OWN_NAMESPACE");
        let document = Ran::of(command.output().expect("probe starts")).json();
        let stop = &document["stops"][0];
        assert_eq!((&stop["leg"], &stop["layer"]), (&"reply".into(), &"icmp".into()), "{target}: {document:#}");
        assert_eq!(stop["cause"]["setting"]["path"], setting.replace('.', "/"), "{target}: {stop:#}");
        let commands = commands(stop, &entered(&lab.b));
        let mends = format!("sysctl -w {setting}={default}  # the default");
        assert!(commands[0].starts_with(&mends), "{target}: {commands:#?}");
        let limit = setting.replace("ratemask", "ratelimit");
        assert_eq!(commands[1], format!("sysctl {limit} {setting}"), "{target}: {stop:#}");
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_told_with_the_table_of_its_route() {
    let Some(lab) = routed("a_gateway_that_does_not_answer_is_told_with_the_table_of_its_route") else { return };
    sh(
        &lab.router,
        &format!(
            "ip rule add to {} table 77 && ip route add default via 10.82.0.66 dev eth1 table 77
             ip -6 rule add to {} table 77 && ip -6 route add default via fd82::66 dev eth1 table 77",
            B[0], B[1]
        ),
    );
    for (target, gateway, v) in [(B[0], "10.82.0.66", ""), (B[1], "fd82::66", " -6")] {
        let document = lab.diagnosed(target, false);
        let stop = stopped_in(&document, &lab.router, "request", "neighbour", target);
        let detail = stop["cause"]["detail"].as_str().expect("a detail");
        assert!(detail.contains(&format!("the gateway {gateway} of")), "{target}: {detail}");
        assert!(detail.contains("route default (table 77) on eth1 does not answer"), "{target}: {detail}");
        let shows = format!("ip{v} route show table 77 default");
        let commands = commands(&stop, &entered(&lab.router));
        assert!(commands.contains(&shows), "{target}: {commands:#?}");
    }
}

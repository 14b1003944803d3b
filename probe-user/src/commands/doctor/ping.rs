//! How this host treats ping: the settings that drop it silently.

use super::{
    facts::Facts,
    privileges::{PingSockets, ping_sockets},
};
use crate::report::doctor::{Check, CheckGroup, CheckStatus};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![
        answers(facts, "answers_ipv4", "net/ipv4/icmp_echo_ignore_all"),
        answers(facts, "answers_ipv6", "net/ipv6/icmp/echo_ignore_all"),
        broadcasts(facts),
        rate(facts),
        sockets(facts),
    ]
}

fn answers(facts: &Facts, name: &str, setting: &str) -> Check {
    let dotted = setting.replace('/', ".");
    match facts.sysctls.get(setting).map(String::as_str) {
        Some("0") => Check::good(CheckGroup::Ping, name, "echo requests are answered"),
        Some(_) => Check::new(
            CheckGroup::Ping,
            name,
            CheckStatus::Warning,
            format!("this host drops all echo requests silently ({dotted})"),
            facts.as_root(&format!("sysctl -w {dotted}=0")),
        ),
        None => Check::unknown(CheckGroup::Ping, name, format!("{dotted} is not shown here")),
    }
}

fn broadcasts(facts: &Facts) -> Check {
    let detail = match facts.sysctls.get("net/ipv4/icmp_echo_ignore_broadcasts").map(String::as_str) {
        Some("0") => "requests to broadcast addresses are answered",
        Some(_) => "requests to broadcast and multicast addresses are not answered (the default)",
        None => {
            return Check::unknown(
                CheckGroup::Ping,
                "broadcasts",
                "net.ipv4.icmp_echo_ignore_broadcasts is not shown here",
            );
        }
    };
    Check::good(CheckGroup::Ping, "broadcasts", detail)
}

/// Checks the rate limit of replies: bit 0 of `icmp_ratemask` is ICMP type 0, echo reply. The default, 6168, limits
/// errors only.
fn rate(facts: &Facts) -> Check {
    let mask = facts.sysctls.get("net/ipv4/icmp_ratemask").and_then(|text| text.parse::<u64>().ok());
    match mask {
        Some(mask) if mask & 1 == 1 => Check::new(
            CheckGroup::Ping,
            "rate_limit",
            CheckStatus::Warning,
            format!(
                "echo replies are rate limited, and dropped silently above the limit (net.ipv4.icmp_ratemask is {mask})"
            ),
            facts.as_root(&format!("sysctl -w net.ipv4.icmp_ratemask={}", mask & !1)),
        )
        .value("icmp_ratemask", mask),
        Some(mask) => Check::good(CheckGroup::Ping, "rate_limit", "echo replies are not rate limited")
            .value("icmp_ratemask", mask),
        None => Check::unknown(CheckGroup::Ping, "rate_limit", "net.ipv4.icmp_ratemask is not shown here"),
    }
}

fn sockets(facts: &Facts) -> Check {
    let range = facts.sysctls.get("net/ipv4/ping_group_range");
    let Some(range) = range else {
        return Check::unknown(CheckGroup::Ping, "ping_sockets", "net.ipv4.ping_group_range is not shown here");
    };
    let detail = match ping_sockets(facts) {
        PingSockets::Open => format!("open to this user (net.ipv4.ping_group_range is {range})"),
        PingSockets::Closed => format!(
            "closed to this user's groups (net.ipv4.ping_group_range is {range}): sending needs CAP_NET_RAW instead"
        ),
    };
    Check::good(CheckGroup::Ping, "ping_sockets", detail).value("ping_group_range", range.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::facts::tests::healthy;

    #[test]
    fn the_defaults_are_good() {
        assert!(checks(&healthy(&[])).iter().all(|check| check.state == CheckStatus::Good));
    }

    #[test]
    fn each_silent_killer_is_named_with_the_command_that_ends_it() {
        let rows = [
            ("net/ipv4/icmp_echo_ignore_all", "1", "sudo sysctl -w net.ipv4.icmp_echo_ignore_all=0"),
            ("net/ipv6/icmp/echo_ignore_all", "1", "sudo sysctl -w net.ipv6.icmp.echo_ignore_all=0"),
            ("net/ipv4/icmp_ratemask", "6169", "sudo sysctl -w net.ipv4.icmp_ratemask=6168"),
        ];
        for (setting, value, fix) in rows {
            let mut facts = healthy(&[]);
            facts.sysctls.insert(setting, value.to_owned());
            let bad: Vec<Check> =
                checks(&facts).into_iter().filter(|check| check.state == CheckStatus::Warning).collect();
            assert_eq!(bad.iter().map(|check| check.fix.as_str()).collect::<Vec<_>>(), [fix]);
        }
    }

    #[test]
    fn a_setting_that_is_not_shown_is_unknown() {
        let mut facts = healthy(&[]);
        facts.sysctls.clear();
        assert!(checks(&facts).iter().all(|check| check.state == CheckStatus::Unknown));
    }
}

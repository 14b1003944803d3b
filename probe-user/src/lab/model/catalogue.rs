//! The models: made of the running kernel's own firewall, and of probe's guard for behavior that Linux does not have.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use super::{BoxModel, Build, ONE_FRAME, Truth};
use crate::{
    filter::guard::{CodeRule, GuardOptions, Refresh, RequestPolicy, StateKey},
    lab::firewall::SECURITY_GROUP,
    middlebox::datasheet::{
        Fact, FactValue,
        finding::{IdPolicy, Rewriting},
    },
};

/// Either side may ping; replies pass by connection tracking.
const BOTH_MAY_ASK: &str = r"
table inet probe_model {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct state new icmp type echo-request accept
        ct state new icmpv6 type echo-request accept
    }
}
";

/// The hosts inside appear outside only under the router's own address.
const MASQUERADE: &str = r#"
table inet probe_model {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "a" ct state new accept
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "b" masquerade
    }
}
"#;

/// Requests out, replies in, each by its own rule. Only the first fragment of a packet shows its type.
const STATELESS: &str = r#"
table inet probe_model {
    chain prerouting {
        type filter hook prerouting priority raw;
        notrack
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "a" icmp type echo-request accept
        iifname "b" icmp type echo-reply accept
        iifname "a" icmpv6 type echo-request accept
        iifname "b" icmpv6 type echo-reply accept
    }
}
"#;

/// New connections from outside are dropped; packets without a connection are not new but invalid, and pass.
const INVALID_PASSES: &str = r#"
table inet probe_model {
    chain forward {
        type filter hook forward priority filter; policy accept;
        iifname "b" ct state new drop
    }
}
"#;

/// Returns every model, those of Linux first.
pub fn all() -> Vec<BoxModel> {
    linux().into_iter().chain(guards()).collect()
}

fn linux() -> Vec<BoxModel> {
    let group = SECURITY_GROUP.rules;
    vec![
        tracked("conntrack-5s", "Linux connection tracking, 5 s", group, 5),
        tracked("conntrack-20s", "Linux connection tracking, 20 s", group, 20),
        tracked("conntrack-30s", "Linux connection tracking with its defaults, 30 s", group, 30),
        tracked("group-one-side", "a security group: only A may ping", group, 4),
        tracked("group-both-sides", "security groups at both ends: either may ping", BOTH_MAY_ASK, 4)
            .with(Fact::BothEnds, Truth::Is(FactValue::Independent))
            .with(Fact::Roles, Truth::Is(FactValue::Same)),
        tracked("masquerade", "a masquerading router: A appears under its address", MASQUERADE, 6)
            .with(Fact::Destination, Truth::Unknowable)
            .with(Fact::Nat, nat(Rewriting::Rewritten, IdPolicy::KeptWhereFree)),
        forgetful("stateless", "stateless rules, connection tracking off", Some(STATELESS))
            .with(Fact::Size, sizes(ONE_FRAME)),
        forgetful("invalid-passes", "packets that connection tracking calls invalid pass", Some(INVALID_PASSES)),
        forgetful("router", "a router that drops nothing", None),
    ]
}

fn guards() -> Vec<BoxModel> {
    let four = Duration::from_secs(4);
    let usual = GuardOptions { timeout: four, requests: RequestPolicy::Deny, ..GuardOptions::default() };
    let addresses = GuardOptions { key: StateKey::ADDRESSES, ..usual.clone() };
    let apart = [Fact::Errors, Fact::Roles, Fact::BothEnds, Fact::Unsolicited].map(|fact| (fact, Truth::Unknowable));
    vec![
        guarded("seq-in-key", "the sequence number is part of the key", with_key(&usual, StateKey::SEQ))
            .with(Fact::Seq, Truth::yes(true)),
        guarded("code-in-key", "the code is part of the key", with_key(&usual, StateKey::CODE))
            .with(Fact::Code, Truth::yes(true)),
        guarded("code-zero", "the code must be 0", GuardOptions { code: CodeRule::Zero, ..usual.clone() })
            .with(Fact::Code, Truth::Is(FactValue::ZeroOnly)),
        guarded("addresses-only", "only the addresses are part of the key", addresses)
            .with(Fact::Id, Truth::yes(false))
            .but(apart),
        guarded(
            "one-reply",
            "one reply for each request",
            GuardOptions { replies: NonZeroU32::new(1), ..usual.clone() },
        )
        .with(Fact::Replies, Truth::Is(FactValue::Limit { replies: 1 }))
        .with(Fact::TimeoutAfterReply, Truth::Short)
        .with(Fact::RefreshByReply, Truth::yes(false)),
        guarded("no-refresh", "nothing prolongs", GuardOptions { refresh: Refresh::NOTHING, ..usual.clone() })
            .with(Fact::TimeoutAfterReply, Truth::Seconds(3.0))
            .with(Fact::RefreshByRequest, Truth::yes(false))
            .with(Fact::RefreshByReply, Truth::yes(false)),
        shorter_after_reply("4s-then-2s", "4 s, and 2 s after a reply", &usual, 4, 2),
        shorter_after_reply("20s-then-10s", "20 s, and 10 s after a reply", &usual, 20, 10),
    ]
}

fn with_key(usual: &GuardOptions, more: StateKey) -> GuardOptions {
    GuardOptions { key: usual.key.and(more), ..usual.clone() }
}

fn shorter_after_reply(
    name: &'static str,
    title: &'static str,
    usual: &GuardOptions,
    seconds: u32,
    after: u32,
) -> BoxModel {
    let [timeout, after_reply] = [seconds, after].map(|seconds| Duration::from_secs(seconds.into()));
    guarded(name, title, GuardOptions { timeout, timeout_after_reply: Some(after_reply), ..usual.clone() })
        .with(Fact::TimeoutAfterReply, Truth::Seconds(after.into()))
}

/// Returns a model with connection tracking whose timeout is `seconds`.
fn tracked(name: &'static str, title: &'static str, rules: &'static str, seconds: u32) -> BoxModel {
    let build = Build { rules: Some(rules), timeout: Some(seconds), guard: None };
    model(name, title, build, f64::from(seconds))
}

/// Returns a model with a guard on a plain router.
fn guarded(name: &'static str, title: &'static str, guard: GuardOptions) -> BoxModel {
    let seconds = guard.timeout.as_secs_f64();
    let build = Build { guard: Some(guard), ..Build::default() };
    let errors = FactValue::Errors { about_seen: true, about_unseen: true, state_lives: true };
    model(name, title, build, seconds).with(Fact::Code, Truth::yes(false)).with(Fact::Errors, Truth::Is(errors))
}

/// Returns a model that keeps no state for requests.
fn forgetful(name: &'static str, title: &'static str, rules: Option<&'static str>) -> BoxModel {
    let plain = model(name, title, Build { rules, ..Build::default() }, 4.0);
    let known = [Fact::State, Fact::Nat, Fact::Size, Fact::Rate];
    let silent = Fact::ALL.into_iter().filter(|fact| !known.contains(fact)).map(|fact| (fact, Truth::Unknowable));
    plain.with(Fact::State, Truth::yes(false)).but(silent)
}

fn nat(address: Rewriting, id: IdPolicy) -> Truth {
    Truth::Is(FactValue::Nat { address, id })
}

/// Returns the largest payload that passes, in bytes; more than 4000 are not tried.
fn sizes(largest: u16) -> Truth {
    Truth::Is(FactValue::Sizes { request: largest, reply: largest, tried: 4000 })
}

/// Returns what is true of connection tracking; the other models say where they differ.
fn model(name: &'static str, title: &'static str, build: Build, seconds: f64) -> BoxModel {
    let errors = FactValue::Errors { about_seen: true, about_unseen: false, state_lives: true };
    let truths = BTreeMap::from([
        (Fact::State, Truth::yes(true)),
        (Fact::Id, Truth::yes(true)),
        (Fact::Seq, Truth::yes(false)),
        (Fact::Code, Truth::yes(true)),
        (Fact::Source, Truth::yes(true)),
        (Fact::Destination, Truth::yes(true)),
        (Fact::Replies, Truth::Unlimited),
        (Fact::BothEnds, Truth::Is(FactValue::FarMayNotAsk)),
        (Fact::Unsolicited, Truth::yes(false)),
        (Fact::Errors, Truth::Is(errors)),
        (Fact::Nat, nat(Rewriting::Kept, IdPolicy::Kept)),
        (Fact::Size, sizes(4000)),
        (Fact::Roles, Truth::Is(FactValue::FarMayNotAsk)),
        (Fact::Timeout, Truth::Seconds(seconds)),
        (Fact::TimeoutAfterReply, Truth::Seconds(seconds)),
        (Fact::RefreshByRequest, Truth::yes(true)),
        (Fact::RefreshByReply, Truth::yes(true)),
        (Fact::Rate, Truth::Unlimited),
    ]);
    BoxModel { name, title, build, longest: Duration::from_secs_f64(seconds * 1.5 + 4.0), truths }
}

impl BoxModel {
    fn with(self, fact: Fact, truth: Truth) -> Self {
        self.but([(fact, truth)])
    }

    fn but(mut self, truths: impl IntoIterator<Item = (Fact, Truth)>) -> Self {
        self.truths.extend(truths);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use probe_ebpf::Family;

    use super::*;

    #[test]
    fn names_and_titles_differ_and_are_words_for_a_command_line() {
        let models = all();
        let names: BTreeSet<_> = models.iter().map(|model| model.name).collect();
        let titles: BTreeSet<_> = models.iter().map(|model| model.title).collect();
        assert_eq!((names.len(), titles.len()), (models.len(), models.len()));
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(names.iter().all(plain), "{names:?}");
    }

    #[test]
    fn of_every_fact_something_is_true() {
        for model in all() {
            for family in [Family::V4, Family::V6] {
                let facts: Vec<Fact> = model.truths(family).into_keys().collect();
                assert_eq!(facts.len(), Fact::ALL.len(), "{}", model.name);
            }
        }
    }

    #[test]
    fn timeouts_are_looked_for_beyond_the_true_ones() {
        for model in all() {
            let most = model.truths.values().filter_map(|truth| match truth {
                Truth::Seconds(time) => Some(*time),
                _ => None,
            });
            assert!(most.fold(0.0, f64::max) * 1.2 < model.longest.as_secs_f64(), "{}", model.name);
        }
    }

    #[test]
    fn models_differ_in_what_is_true_of_them_or_in_how_they_are_built() {
        let models = all();
        for (index, one) in models.iter().enumerate() {
            for other in &models[index + 1..] {
                let same_rules = one.build.rules == other.build.rules && one.build.guard == other.build.guard;
                assert!(one.truths != other.truths || !same_rules, "{} and {}", one.name, other.name);
            }
        }
    }

    #[test]
    fn fragments_that_do_not_pass_leave_less_room_over_ipv6() {
        let models = all();
        let stateless = models.iter().find(|model| model.name == "stateless").expect("it is in the catalogue");
        assert_eq!(stateless.truths(Family::V4)[&Fact::Size], sizes(1472));
        assert_eq!(stateless.truths(Family::V6)[&Fact::Size], sizes(1452));
    }

    #[test]
    fn a_guard_can_be_told_what_its_model_is() {
        let guards: Vec<_> = all().into_iter().filter_map(|model| model.build.guard).collect();
        assert!(guards.len() >= 6 && guards.iter().all(|options| options.config([7; 5]).is_ok()));
    }
}

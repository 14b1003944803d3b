//! The catalogue holds together: names, numbers, texts.

use std::collections::BTreeSet;

use super::{action::FaultAction, *};

#[test]
fn there_are_at_least_sixty_cases_and_no_two_are_the_same() {
    let cases = all();
    assert!(cases.len() >= 60, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| (case.name.clone(), case.family)).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn names_are_in_kebab_case_and_say_the_side() {
    for case in all() {
        assert!(
            case.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{}",
            case.name
        );
        let prefix = match case.side() {
            Some(side) => format!("{}-", side.name()),
            None => String::new(),
        };
        assert!(case.name.starts_with(&prefix), "{}", case.name);
        assert!(!case.fault.title.is_empty() && !case.fault.title.ends_with('.'), "{}", case.name);
    }
}

#[test]
fn healthy_cases_expect_no_stop_and_all_others_do() {
    for case in all() {
        let healthy = case.fault.place == FaultLocation::Nothing;
        assert_eq!(case.fault.expected.has_stop(), !healthy, "{}", case.name);
    }
}

#[test]
fn no_text_has_a_word_that_means_nothing() {
    for case in all() {
        for action in case.fault.actions {
            let text = match action {
                FaultAction::Nft(_, text)
                | FaultAction::Ip(_, text)
                | FaultAction::Tc(_, text)
                | FaultAction::Iptables(_, text) => text,
                FaultAction::Setting(_, path, _) => path,
                _ => continue,
            };
            let filled = case.site().fill(text);
            let word = filled.match_indices('{').find(|(at, _)| !filled[at + 1..].starts_with([' ', '\n']));
            assert_eq!(word, None, "{}: {filled}", case.name);
        }
    }
}

#[test]
fn addresses_of_probes_are_addresses() {
    for case in all() {
        let source = case.fault.probe.source(case.family);
        assert!(source.is_none_or(|source| source.is_ipv4() == (case.family == Family::V4)));
    }
}

#[test]
fn a_fault_of_the_sender_is_local_for_requests_and_the_peers_for_replies() {
    assert_eq!(FaultLocation::Sender.side(Echo::Request), Some(Side::Local));
    assert_eq!(FaultLocation::Sender.side(Echo::Reply), Some(Side::Peer));
    assert_eq!(FaultLocation::Receiver.side(Echo::Request), Some(Side::Peer));
    assert_eq!(FaultLocation::Receiver.side(Echo::Reply), Some(Side::Local));
    assert_eq!(FaultLocation::Nothing.side(Echo::Request), None);
}

#[test]
fn what_needs_a_socket_of_ones_own_is_not_asked_of_a_diagnosis() {
    assert!(all().iter().all(|case| case.fault.probe.socket.is_none()));
    assert!(own_socket().iter().all(|case| case.fault.probe.socket.is_some()));
}

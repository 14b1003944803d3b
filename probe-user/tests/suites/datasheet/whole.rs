//! Each model is characterized right on every fact.

use probe_user::{
    middlebox::datasheet::{Datasheet, Effort, Fact, FactValue, Level},
    model::verdict::Confidence,
};

use super::{
    boxes::{Codes, Firewall, Strays},
    link::Link,
    truth::assert_right,
};

pub(crate) fn characterised(firewall: &Firewall) -> Datasheet {
    Link::through(vec![Box::new(firewall.clone())]).characterise(Effort::of(Level::Ordinary))
}

#[track_caller]
fn right(firewall: &Firewall) -> Datasheet {
    let sheet = characterised(firewall);
    assert_right(&sheet, &firewall.truth());
    sheet
}

fn nearest(sheet: &Datasheet) -> (&str, u32, u32) {
    sheet.fingerprint.first().map_or(("", 0, 0), |likeness| (likeness.stack.as_str(), likeness.agree, likeness.of))
}

#[test]
fn linux_conntrack_with_its_timeouts() {
    for timeout in [5.0, 20.0, 30.0, 117.3] {
        let sheet = right(&Firewall::conntrack(timeout));
        for finding in sheet.facts.iter().filter(|finding| finding.fact != Fact::TimeoutAfterReply) {
            assert_eq!(finding.confidence, Confidence::Certain, "{finding:#?}");
        }
        if timeout.to_bits() == 30.0_f64.to_bits() {
            assert_eq!(nearest(&sheet), ("Linux conntrack", 11, 11));
        }
    }
}

#[test]
fn a_security_group_that_lets_the_far_end_ask_too() {
    let firewall = Firewall { far_may_ask: true, strays: Strays::Pass, ..Firewall::conntrack(350.0) };
    let sheet = right(&firewall);
    assert_eq!(sheet.answer(Fact::Timeout), Some(&FactValue::Beyond { low: 120.0 }));
    assert_eq!(sheet.answer(Fact::Roles), Some(&FactValue::NothingRemembered));
    let note = sheet.finding(Fact::RefreshByRequest).and_then(|finding| finding.note.clone());
    assert!(note.is_some_and(|note| note.contains("longer than was tried")));
}

#[test]
fn the_full_effort_finds_long_timeouts() {
    let mut link = Link::through(vec![Box::new(Firewall::conntrack(600.0))]);
    let sheet = link.characterise(Effort::of(Level::Full));
    let (low, high) = sheet.answer(Fact::Timeout).and_then(FactValue::between).expect("it ends");
    assert!(low <= 600.0 && 600.0 <= high && high - low <= 0.5, "{low} {high}");
}

#[test]
fn a_stateless_list_of_rules() {
    let sheet = right(&Firewall::stateless());
    assert_eq!(nearest(&sheet).0, "a stateless list of rules");
    assert_eq!(sheet.finding(Fact::State).map(|finding| finding.confidence), Some(Confidence::Likely));
}

#[test]
fn the_sequence_number_in_the_key() {
    let sheet = right(&Firewall { seq: true, ..Firewall::conntrack(20.0) });
    let note = sheet.finding(Fact::Replies).and_then(|finding| finding.note.clone());
    assert!(note.is_some_and(|note| note.contains("none with a sequence number other than the request's")));
}

#[test]
fn one_reply_and_five_replies() {
    for replies in [1, 5] {
        right(&Firewall { replies: Some(replies), ..Firewall::conntrack(15.0) });
    }
}

#[test]
fn twenty_seconds_then_ten_after_a_reply() {
    let sheet = right(&Firewall { after_reply: Some(10.0), codes: Codes::Ignored, ..Firewall::conntrack(20.0) });
    assert_eq!(nearest(&sheet).0, "pf (BSD)");
}

#[test]
fn no_refresh() {
    let sheet =
        right(&Firewall { refreshed_by_request: false, refreshed_by_reply: false, ..Firewall::conntrack(25.0) });
    let note = sheet.finding(Fact::TimeoutAfterReply).and_then(|finding| finding.note.clone());
    assert!(note.is_some_and(|note| note.contains("the reply changed nothing")));
    right(&Firewall { refreshed_by_request: false, ..Firewall::conntrack(12.0) });
    right(&Firewall { refreshed_by_reply: false, ..Firewall::conntrack(12.0) });
}

#[test]
fn addresses_only_with_and_without_refresh() {
    let addresses = Firewall { id: false, codes: Codes::Ignored, ..Firewall::conntrack(20.0) };
    right(&addresses);
    right(&Firewall { refreshed_by_request: false, refreshed_by_reply: false, ..addresses.clone() });
    right(&Firewall { timeout: 6.3, refreshed_by_reply: false, ..addresses });
}

#[test]
fn the_code_must_be_zero() {
    let sheet = right(&Firewall { codes: Codes::ZeroOnly, after_reply: Some(30.0), ..Firewall::conntrack(60.0) });
    assert_eq!(nearest(&sheet).0, "Open vSwitch, userspace conntrack");
}

#[test]
fn addresses_that_are_not_looked_at() {
    right(&Firewall { source: false, ..Firewall::conntrack(10.0) });
    right(&Firewall { destination: false, ..Firewall::conntrack(10.0) });
}

#[test]
fn doors_that_should_be_shut() {
    right(&Firewall { types_mixed: true, ..Firewall::conntrack(10.0) });
    right(&Firewall { strays: Strays::Remembered, ..Firewall::conntrack(10.0) });
    right(&Firewall { errors_about_unseen: true, error_ends_state: true, ..Firewall::conntrack(10.0) });
    right(&Firewall { errors_about_seen: false, ..Firewall::conntrack(10.0) });
}

#[test]
fn sizes_and_rates() {
    for largest in [56, 1472, 3000, 8000] {
        right(&Firewall { largest, ..Firewall::conntrack(10.0) });
    }
    for rate in [30.0, 60.0] {
        right(&Firewall { rate: Some((rate, 25.0)), ..Firewall::conntrack(10.0) });
    }
}

#[test]
fn the_quick_effort_takes_less_than_fifteen_seconds() {
    let mut link = Link::through(vec![Box::new(Firewall::conntrack(30.0))]);
    let sheet = link.characterise(Effort::of(Level::Quick));
    assert!(link.now.as_secs() < 12, "{:?} in {} runs", link.now, link.runs);
    assert_eq!(sheet.facts.len(), 7);
    for finding in &sheet.facts {
        assert_eq!(finding.confidence, Confidence::Certain, "{finding:#?}");
    }
}

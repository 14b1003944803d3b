//! What a firewall's datasheet must say, and whether it does.

use probe_user::{
    lab::model::Truth,
    middlebox::datasheet::{Datasheet, Fact, FactValue},
    model::verdict::Confidence,
};

use super::boxes::{Codes, Firewall, Strays};

impl Firewall {
    /// What is true of it, fact by fact; facts that are left out are not judged.
    pub(crate) fn truth(&self) -> Vec<(Fact, Truth)> {
        let yes = Truth::yes;
        let mut truth = vec![(Fact::State, yes(self.stateful)), (Fact::Size, self.sizes()), (Fact::Rate, self.rates())];
        if !self.stateful {
            let others = [Fact::Id, Fact::Seq, Fact::Replies, Fact::Timeout, Fact::RefreshByReply];
            truth.extend(others.map(|fact| (fact, Truth::Unknowable)));
            return truth;
        }
        let code = match self.codes {
            Codes::InKey => FactValue::Yes,
            Codes::Ignored => FactValue::No,
            Codes::ZeroOnly => FactValue::ZeroOnly,
        };
        let errors = FactValue::Errors {
            about_seen: self.errors_about_seen,
            about_unseen: self.errors_about_unseen,
            state_lives: !self.error_ends_state,
        };
        let apart = |truth| if self.id { truth } else { Truth::Unknowable };
        truth.extend([
            (Fact::Id, yes(self.id)),
            (Fact::Seq, yes(self.seq)),
            (Fact::Code, Truth::Is(code)),
            (Fact::Source, yes(self.source)),
            (Fact::Destination, yes(self.destination)),
            (Fact::Replies, self.replies.map_or(Truth::Unlimited, |replies| Truth::Is(FactValue::Limit { replies }))),
            (Fact::Errors, apart(Truth::Is(errors))),
            (Fact::Roles, apart(Truth::Is(self.roles()))),
            (Fact::BothEnds, apart(Truth::Is(self.both_ends()))),
            (Fact::Unsolicited, apart(yes(self.strays == Strays::Remembered))),
            (Fact::Timeout, Truth::Seconds(self.timeout)),
            (Fact::TimeoutAfterReply, self.after()),
        ]);
        if self.timeout > 120.0 {
            truth.extend([Fact::RefreshByRequest, Fact::RefreshByReply].map(|fact| (fact, Truth::Unknowable)));
        } else {
            truth.push((Fact::RefreshByRequest, yes(self.refreshed_by_request)));
            truth.push((Fact::RefreshByReply, yes(self.replies != Some(1) && self.prolonged_by_reply())));
        }
        truth
    }

    fn prolonged_by_reply(&self) -> bool {
        self.after_reply.is_some() || self.refreshed_by_reply
    }

    fn after(&self) -> Truth {
        match self.after_reply {
            _ if self.replies == Some(1) => Truth::Short,
            Some(time) => Truth::Seconds(time),
            None if self.refreshed_by_reply => Truth::Seconds(self.timeout),
            None => Truth::Seconds(self.timeout - 1.0),
        }
    }

    fn both_ends(&self) -> FactValue {
        match (self.far_may_ask, self.types_mixed) {
            (true, _) => FactValue::Independent,
            (false, true) => FactValue::OpensForRequests,
            (false, false) => FactValue::FarMayNotAsk,
        }
    }

    fn roles(&self) -> FactValue {
        match (self.far_may_ask, self.strays) {
            (false, _) => FactValue::FarMayNotAsk,
            (true, Strays::Stopped) => FactValue::Same,
            (true, Strays::Pass | Strays::Remembered) => FactValue::NothingRemembered,
        }
    }

    fn sizes(&self) -> Truth {
        let largest = [56, 1472, 1473, 4000].into_iter().filter(|size| *size <= self.largest).max().unwrap_or(0);
        Truth::Is(FactValue::Sizes { request: largest, reply: largest, tried: 4000 })
    }

    fn rates(&self) -> Truth {
        self.rate.map_or(Truth::Is(FactValue::Unlimited { tried: 100 }), |(rate, _)| Truth::Limited(rate))
    }
}

/// Every fact has its true answer.
#[track_caller]
pub(crate) fn assert_right(sheet: &Datasheet, truth: &[(Fact, Truth)]) {
    for (fact, truth) in truth {
        let Some(finding) = sheet.finding(*fact) else { panic!("{fact} is missing") };
        assert!(truth.fits(&finding.value), "{fact} is {truth:?}, found {finding:#?}");
        let off_by = truth.off_by(&finding.value).unwrap_or(0.0);
        assert!(off_by <= 0.25, "{fact} is {truth:?}, found {finding:#?}");
    }
}

/// No fact has an answer that is called certain and is wrong; how many have the right one, and how many are judged.
#[track_caller]
pub(crate) fn assert_not_wrong(sheet: &Datasheet, truth: &[(Fact, Truth)]) -> (usize, usize) {
    let mut right = 0;
    for (fact, truth) in truth {
        let Some(finding) = sheet.finding(*fact) else { continue };
        let fits = truth.fits(&finding.value);
        if !fits && finding.value.is_known() {
            println!("{fact} is {truth:?}, found {:?}: {:?}, {:?}", finding.value, finding.note, finding.evidence);
        }
        right += usize::from(fits);
        let wrong = finding.confidence == Confidence::Certain && !fits;
        assert!(!wrong, "{fact} is {truth:?}, called certain: {finding:#?}");
    }
    (right, truth.len())
}

//! What a firewall's datasheet must say, and whether it does.

use probe_user::datasheet::{Answer, Confidence, Datasheet, Fact};

use crate::boxes::{Codes, Firewall, Strays};

/// What is true of one fact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    /// This answer.
    Is(Answer),
    /// A time: the bounds hold it, and without loss their middle is within a quarter of a second.
    Seconds(f64),
    /// A shorter time than is tried.
    Short,
    /// The rate is limited at so many a second.
    Limited(f64),
    /// More replies than any burst has.
    Unlimited,
    /// It cannot be known; no answer is right.
    Unknowable,
}

impl Firewall {
    /// What is true of it, fact by fact; facts that are left out are not judged.
    pub(crate) fn truth(&self) -> Vec<(Fact, Truth)> {
        let yes = |yes: bool| Truth::Is(if yes { Answer::Yes } else { Answer::No });
        let mut truth = vec![(Fact::State, yes(self.stateful)), (Fact::Size, self.sizes()), (Fact::Rate, self.rates())];
        if !self.stateful {
            let others = [Fact::Id, Fact::Seq, Fact::Replies, Fact::Timeout, Fact::RefreshByReply];
            truth.extend(others.map(|fact| (fact, Truth::Unknowable)));
            return truth;
        }
        let code = match self.codes {
            Codes::InKey => Answer::Yes,
            Codes::Ignored => Answer::No,
            Codes::ZeroOnly => Answer::ZeroOnly,
        };
        let errors = Answer::Errors {
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
            (Fact::Replies, self.replies.map_or(Truth::Unlimited, |replies| Truth::Is(Answer::Limit { replies }))),
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

    fn both_ends(&self) -> Answer {
        match (self.far_may_ask, self.types_mixed) {
            (true, _) => Answer::Independent,
            (false, true) => Answer::OpensForRequests,
            (false, false) => Answer::FarMayNotAsk,
        }
    }

    fn roles(&self) -> Answer {
        match (self.far_may_ask, self.strays) {
            (false, _) => Answer::FarMayNotAsk,
            (true, Strays::Stopped) => Answer::Same,
            (true, Strays::Pass | Strays::Remembered) => Answer::NothingRemembered,
        }
    }

    fn sizes(&self) -> Truth {
        let largest = [56, 1472, 1473, 4000].into_iter().filter(|size| *size <= self.largest).max().unwrap_or(0);
        Truth::Is(Answer::Sizes { request: largest, reply: largest, tried: 4000 })
    }

    fn rates(&self) -> Truth {
        self.rate.map_or(Truth::Is(Answer::Unlimited { tried: 100 }), |(rate, _)| Truth::Limited(rate))
    }
}

impl Truth {
    /// Whether an answer is true.
    pub(crate) fn fits(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Is(Answer::Limit { replies }), Answer::Unlimited { tried }) => tried < replies,
            (Self::Is(truth), answer) => truth == answer,
            (Self::Seconds(time), Answer::Between { low, high }) => *low <= time + 0.01 && time - 0.01 <= *high,
            (Self::Seconds(time), Answer::Beyond { low }) => low <= time,
            (Self::Short, Answer::Under { high }) => *high <= 1.0,
            (Self::Limited(rate), Answer::Rate { free, limited, sustained, .. }) => {
                f64::from(*free) <= *rate && *rate <= f64::from(*limited) && (sustained - rate).abs() <= rate * 0.2
            }
            (Self::Unlimited, Answer::Unlimited { .. }) => true,
            (Self::Unknowable, answer) => !answer.is_known(),
            _ => false,
        }
    }
}

/// Every fact has its true answer.
#[track_caller]
pub(crate) fn assert_right(sheet: &Datasheet, truth: &[(Fact, Truth)]) {
    for (fact, truth) in truth {
        let Some(finding) = sheet.finding(*fact) else { panic!("{fact} is missing") };
        assert!(truth.fits(&finding.value), "{fact} is {truth:?}, found {finding:#?}");
        if let (Truth::Seconds(time), Some((low, high))) = (truth, finding.value.between()) {
            assert!(((low + high) / 2.0 - time).abs() <= 0.25, "{fact} is {truth:?}, found {finding:#?}");
        }
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

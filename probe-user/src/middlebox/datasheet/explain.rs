//! Each fact explained: the question, how it is found out, what the answers mean.

use super::fact::Fact;

/// A fact for people who want to understand, or doubt, its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The question.
    pub question: &'static str,
    /// How it is found out.
    pub procedure: &'static str,
    /// What the answers mean.
    pub meaning: &'static str,
}

/// What holds for every procedure.
pub const CONTROLS: &str = "Every trial uses ids that no packet had before. Beside it run a control that must pass (a \
    request and its reply) and, where there is one, a control that must not (a reply that nobody asked for), three times \
    each, interleaved. An arrival is proof, for packets are known by their content. A silence is not: it counts only so \
    far as the loss of the controls allows, and more trials are made where it does not. Packets that did not leave their \
    own host do not count. The far end's kernel does not answer; arrivals are counted at the NIC, before the near end's \
    own netfilter.";

const fn of(question: &'static str, procedure: &'static str, meaning: &'static str) -> Explanation {
    Explanation { question, procedure, meaning }
}

/// Explains a fact.
pub fn explain(fact: Fact) -> Explanation {
    let row = EXPLANATIONS.iter().find(|(of, _)| *of == fact);
    row.map(|(_, explanation)| *explanation).expect("every fact has its row, which a test holds")
}

const EXPLANATIONS: [(Fact, Explanation); Fact::ALL.len()] = [
    (
        Fact::State,
        of(
            "Is anything remembered of a request?",
            "Before any request, the far end sends five replies with unused ids. Then the near end asks, and the far end \
             answers.",
            "Yes: the strays are stopped and the answers pass, so something on the way remembers what was asked. No: \
             strays pass; rules may still stop other packets, but none of them looks at what was asked.",
        ),
    ),
    (
        Fact::Id,
        of(
            "Is the echo id part of what is remembered?",
            "The near end asks with one id; the far end replies with another, and in the same second with the right one.",
            "Part of it: a program that replies with another id than it was asked with is not heard (RFC 792 p. 15 and RFC \
             4443 section 4.2 make the replier copy the id). Not looked at: one request opens the way for replies with any \
             id between the two addresses.",
        ),
    ),
    (
        Fact::Seq,
        of(
            "Is the sequence number part of what is remembered?",
            "The near end asks with sequence number 1, the far end replies with 7.",
            "Rarely part of it: most boxes take all echo packets of one id as one exchange (RFC 5508 section 3).",
        ),
    ),
    (
        Fact::Code,
        of(
            "Is the ICMP code part of what is remembered?",
            "Requests with code 0 and 1, replies with code 0 and 1. The standards know code 0 only (RFC 792, RFC 4443).",
            "Part of it: a reply needs the request's code. Must be 0: an exchange with another code does not pass at all.",
        ),
    ),
    (
        Fact::Source,
        of(
            "May the reply come from another address than was asked?",
            "The far end replies from its second address; as control, that address is asked and replies.",
            "Part of it: hosts with several addresses must answer from the one that was asked.",
        ),
    ),
    (
        Fact::Destination,
        of(
            "May the reply go to another address than asked?",
            "The far end replies to the near end's second address; as control, that address asks.",
            "Part of it: what one host asks opens nothing for another.",
        ),
    ),
    (
        Fact::Replies,
        of(
            "How many replies does one request let in?",
            "One request; 2, 10 and 100 replies, with the request's sequence number and with new ones.",
            "One: the first reply ends what is remembered, as some NATs do. No limit: replies pass until it expires, so \
             one request opens the way for a flood from the far end.",
        ),
    ),
    (
        Fact::BothEnds,
        of(
            "May both ends ask with one id at the same time?",
            "The near end asks with X; the far end asks with an id of its own, and with X; both reply.",
            "Independent: the two directions are kept apart. Collides: two hosts that happen to choose one id break each \
             other's ping. If requests pass with X only, what is remembered does not look at the type.",
        ),
    ),
    (
        Fact::Unsolicited,
        of(
            "Does a reply that nobody asked for make the box remember it?",
            "The near end sends a reply with an unused id; then the far end sends one with the same id.",
            "It should not: only requests begin an exchange (RFC 5508 section 3). Where it does, a stray reply from inside \
             opens the way in.",
        ),
    ),
    (
        Fact::Errors,
        of(
            "Which ICMP errors pass, and what do they do to what is remembered?",
            "The far end sends 'host unreachable' about a request that it got, and about one that never was; then it \
             replies to the first.",
            "Errors about packets that were sent should pass, or path MTU discovery and traceroute fail; others should \
             not; and none may end what is remembered (RFC 5508 sections 4.1 and 4.2, REQ-3 to REQ-5).",
        ),
    ),
    (
        Fact::Nat,
        of(
            "What is rewritten?",
            "Requests with a dozen random ids and with 0, 1, 1023, 1024, 65535; address and id as they left and as they \
             arrived. Two inner hosts (the near end's two addresses) ask with one id.",
            "Kept, kept where it is free, random, or from a range. Overloaded: two hosts share one outer id, and one of \
             them will lose its replies. After a NAT the far end sees another id than was sent, which a reply must copy.",
        ),
    ),
    (
        Fact::Size,
        of(
            "Which sizes pass?",
            "Requests and replies with 56 bytes, with as many as fit into an Ethernet frame (1472, IPv6 1452), with one \
             more, and with 4000, in fragments.",
            "A limit at 1472 (1452) means that fragments are stopped; a smaller one is a smaller MTU on the way whose \
             error did not come back, or a rule about sizes.",
        ),
    ),
    (
        Fact::Roles,
        of(
            "How is it when the far end asks and the near one answers?",
            "Requests of the far end; right, wrong and stray replies of the near end.",
            "Stopped: only the near end may ask. The same: either end may. Other fields: probably two boxes in series, \
             each with rules for one direction.",
        ),
    ),
    (
        Fact::Timeout,
        of(
            "How long after a request does its reply still pass?",
            "Many ids ask at once, and each is answered after a time of its own, from half a second to the longest; a \
             second run looks closer. Where the id is not looked at, one after another.",
            "RFC 5508 section 3.2 (REQ-2) wants at least 60 seconds. A reply that takes longer is lost.",
        ),
    ),
    (
        Fact::TimeoutAfterReply,
        of(
            "How long after a reply does another one pass?",
            "As for the timeout, but each id gets a reply after one second, and the time counts from that.",
            "The same as the timeout: every packet starts it anew. One second less: a reply changes nothing. Shorter: an \
             answered exchange is thought to be over.",
        ),
    ),
    (
        Fact::RefreshByRequest,
        of(
            "Does another request prolong what is remembered?",
            "A request, the same again shortly before its time is over, and replies soon, well and long after the time; \
             a chain of refreshers; and as control, the same without a refresher.",
            "No: even a steady ping is cut off at times. Up to a second limit: two boxes in series, or a lifetime that \
             nothing prolongs.",
        ),
    ),
    (
        Fact::RefreshByReply,
        of(
            "Does a reply prolong what is remembered?",
            "As for a request, with a reply as refresher.",
            "Yes: the far end can keep its way in open for ever by itself; RFC 5508 leaves that to the box.",
        ),
    ),
    (
        Fact::Rate,
        of(
            "How many requests a second pass?",
            "Two seconds each of 10, 20, 50 and 100 requests a second (200 with --full), with rests between, and with \
             nothing else on the wire.",
            "A limit looks like loss to everything that measures with ping. 'At once' is the burst that passes before it \
             bites.",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_explained_in_sentences_of_its_own() {
        for fact in Fact::ALL {
            let Explanation { question, procedure, meaning } = explain(fact);
            assert!(question.ends_with('?') && procedure.ends_with('.') && meaning.ends_with('.'), "{fact}");
            assert!(!format!("{question}{procedure}{meaning}").contains("  "), "{fact}");
            assert!(Fact::ALL.into_iter().filter(|other| explain(*other).question == question).count() == 1, "{fact}");
        }
    }
}

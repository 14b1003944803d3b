//! Each fact explained: the question, how it is tested, what the answers mean.

use super::fact::Fact;

/// The explanation of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The question.
    pub question: &'static str,
    /// How it is tested.
    pub procedure: &'static str,
    /// What the answers mean.
    pub meaning: &'static str,
}

/// What holds for every procedure.
pub const CONTROLS: &str = "Every trial uses fresh ids. Alongside it run a control that must pass (a request and its \
    reply) and, if there is one, a control that must not (an unsolicited reply), three times each, interleaved. An \
    arrival is proof, since packets are known by their content. A missing packet is not: it counts only as far as the \
    loss of the controls allows, and otherwise more trials are run. Packets that did not leave their own host do not \
    count. The far end's kernel does not answer; arrivals are counted at the NIC, before the near end's own netfilter.";

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
            "Is state kept for a request?",
            "Before any request, the far end sends five unsolicited replies with unused ids. Then the near end sends a \
             request, and the far end replies.",
            "Yes: unsolicited replies are stopped and solicited ones pass, so a box on the path keeps state. No: \
             unsolicited replies pass; rules may still stop other packets, but none of them depends on a request.",
        ),
    ),
    (
        Fact::Id,
        of(
            "Is the echo id part of the state's key?",
            "The near end sends a request with one id; the far end replies with another, and in the same second with the right \
             one.",
            "Part of it: a reply whose id differs from the request's is stopped (RFC 792 p. 15 and RFC 4443 section 4.2 \
             require the reply to copy the id). Ignored: one request lets replies with any id pass between the two \
             addresses.",
        ),
    ),
    (
        Fact::Seq,
        of(
            "Is the sequence number part of the state's key?",
            "The near end sends a request with sequence number 1, the far end replies with 7.",
            "It rarely is: most boxes treat all echo packets with one id as one session (RFC 5508 section 3).",
        ),
    ),
    (
        Fact::Code,
        of(
            "Is the ICMP code part of the state's key?",
            "Requests with code 0 and 1, replies with code 0 and 1. The standards define only code 0 (RFC 792, RFC 4443).",
            "Part of it: a reply must have the request's code. Must be 0: packets with another code do not pass at all.",
        ),
    ),
    (
        Fact::Source,
        of(
            "May the reply come from an address other than the request's destination?",
            "The far end replies from its second address; as a control, a request goes to that address and is answered from it.",
            "Part of the key: a host with several addresses must reply from the one that the request was sent to.",
        ),
    ),
    (
        Fact::Destination,
        of(
            "May the reply go to an address other than the request's source?",
            "The far end replies to the near end's second address; as a control, a request is sent from that address.",
            "Part of the key: a request from one host does not let replies to another pass.",
        ),
    ),
    (
        Fact::Replies,
        of(
            "How many replies does one request let pass?",
            "One request; 2, 10 and 100 replies, with the request's sequence number and with new ones.",
            "One: the first reply removes the state, as in some NATs. No limit: replies pass until the state expires, so \
             one request lets the far end send a flood of them.",
        ),
    ),
    (
        Fact::BothEnds,
        of(
            "May both ends ping with the same id at the same time?",
            "The near end sends a request with id X; the far end sends one with an id of its own, and one with X; both reply.",
            "Independent: the two directions have separate state. Collides: two hosts that happen to choose the same id \
             break each other's ping. If only requests with X pass, the state does not distinguish the ICMP type.",
        ),
    ),
    (
        Fact::Unsolicited,
        of(
            "Does an unsolicited reply create state?",
            "The near end sends a reply with an unused id; then the far end sends one with the same id.",
            "It should not: only requests start a session (RFC 5508 section 3). If it does, an unsolicited reply from \
             inside lets packets from outside pass.",
        ),
    ),
    (
        Fact::Errors,
        of(
            "Which ICMP errors pass, and what do they do to the state?",
            "The far end sends 'host unreachable' about a request that it received, and about one that was never sent; \
             then it replies to the first.",
            "Errors about packets that were sent should pass, or path MTU discovery and traceroute fail; others should \
             not; and none may remove the state (RFC 5508 sections 4.1 and 4.2, REQ-3 to REQ-5).",
        ),
    ),
    (
        Fact::Nat,
        of(
            "What does a NAT rewrite?",
            "Requests with a dozen random ids and with 0, 1, 1023, 1024, 65535; address and id are compared as sent and as \
             received. Two inner hosts (the near end's two addresses) send requests with the same id.",
            "The id is kept, kept if it is free, random, or from a range. Overloaded: two hosts share one outer id, and one \
             of them will lose its replies. Behind a NAT, a reply must copy the id that the far end received.",
        ),
    ),
    (
        Fact::Size,
        of(
            "Which sizes pass?",
            "Requests and replies with 56 bytes, with as many as fit into an Ethernet frame (1472, or 1452 over IPv6), \
             with one byte more, and with 4000, in fragments.",
            "A limit at 1472 (1452) means that fragments are stopped; a lower limit means a smaller MTU on the path whose \
             ICMP error did not come back, or a rule about sizes.",
        ),
    ),
    (
        Fact::Roles,
        of(
            "What passes when the far end sends the requests and the near end replies?",
            "Requests from the far end; right, wrong and unsolicited replies from the near end.",
            "Stopped: only the near end may ping. The same: either end may. Other fields: probably two boxes in series, \
             each with rules for one direction.",
        ),
    ),
    (
        Fact::Timeout,
        of(
            "How long after a request does its reply still pass?",
            "Many requests with different ids are sent at once, and each is answered after a different time, from half a \
             second to the longest; a second run narrows the result down. If the box ignores the id, they are tried one \
             after another.",
            "RFC 5508 section 3.2 (REQ-2) requires at least 60 seconds. A reply that takes longer than the timeout is lost.",
        ),
    ),
    (
        Fact::TimeoutAfterReply,
        of(
            "How long after a reply does another one pass?",
            "As for the timeout, but each id gets a reply after one second, from which the time is counted.",
            "The same as the timeout: every packet restarts it. One second less: a reply changes nothing. Shorter: the box \
             considers an answered ping to be finished.",
        ),
    ),
    (
        Fact::RefreshByRequest,
        of(
            "Does another request refresh the state?",
            "A request, the same again shortly before its timeout, and replies soon, well and long after the timeout; a \
             chain of refreshers; and as a control, the same without a refresher.",
            "No: even a steady ping is cut off from time to time. Up to a second limit: two boxes in series, or a maximum \
             lifetime that nothing extends.",
        ),
    ),
    (
        Fact::RefreshByReply,
        of(
            "Does a reply refresh the state?",
            "As for a request, with a reply as the refresher.",
            "Yes: the far end can keep the state alive for ever by itself; RFC 5508 leaves that to the box.",
        ),
    ),
    (
        Fact::Rate,
        of(
            "How many requests a second pass?",
            "Two seconds each of 10, 20, 50 and 100 requests a second (200 with --full), with pauses between, and with \
             no other packets of the run.",
            "To every tool that measures with ping, a limit looks like loss. The burst is what passes before the limit \
             applies.",
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

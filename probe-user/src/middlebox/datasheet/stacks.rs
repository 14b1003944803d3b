//! Known stacks as data: what each is documented, or was measured, to do. Only what is known about a stack is listed
//! here.

use super::fact::Fact;

/// A stack that a box may run.
pub(super) struct Stack {
    pub(super) name: &'static str,
    pub(super) traits: &'static [(Fact, Trait)],
}

/// What a stack answers to one fact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trait {
    Yes,
    No,
    ZeroOnly,
    /// It ends after this many seconds, by default; whoever runs it can set another time.
    Usually(f64),
    /// It ends after this many seconds.
    Seconds(f64),
    /// More than one reply passes.
    Several,
    /// Replies pass until it expires.
    Endless,
}

use Trait::{Endless, No, Seconds, Several, Usually, Yes, ZeroOnly};

/// The stacks, in no order of likeness.
pub(super) const STACKS: [Stack; 7] = [
    // net/netfilter/nf_conntrack_proto_icmp.c: the tuple has addresses, type, code and id; nf_ct_refresh on every packet.
    Stack {
        name: "Linux conntrack",
        traits: &[
            (Fact::State, Yes),
            (Fact::Id, Yes),
            (Fact::Seq, No),
            (Fact::Code, Yes),
            (Fact::Source, Yes),
            (Fact::Destination, Yes),
            (Fact::Replies, Endless),
            (Fact::Timeout, Usually(30.0)),
            (Fact::TimeoutAfterReply, Usually(30.0)),
            (Fact::RefreshByRequest, Yes),
            (Fact::RefreshByReply, Yes),
        ],
    },
    // lib/conntrack-icmp.c and lib/conntrack-tp.c: ICMP_FIRST 60 s, ICMP_REPLY 30 s; code 0 only.
    Stack {
        name: "Open vSwitch, userspace conntrack",
        traits: &[
            (Fact::State, Yes),
            (Fact::Id, Yes),
            (Fact::Seq, No),
            (Fact::Code, ZeroOnly),
            (Fact::Source, Yes),
            (Fact::Destination, Yes),
            (Fact::Replies, Endless),
            (Fact::Timeout, Usually(60.0)),
            (Fact::TimeoutAfterReply, Usually(30.0)),
            (Fact::RefreshByRequest, Yes),
            (Fact::RefreshByReply, Yes),
        ],
    },
    // pf.conf(5): icmp.first 20 s, icmp.error 10 s; the id stands for the port.
    Stack {
        name: "pf (BSD)",
        traits: &[
            (Fact::State, Yes),
            (Fact::Id, Yes),
            (Fact::Seq, No),
            (Fact::Source, Yes),
            (Fact::Destination, Yes),
            (Fact::Replies, Endless),
            (Fact::Timeout, Usually(20.0)),
            (Fact::TimeoutAfterReply, Usually(10.0)),
            (Fact::RefreshByRequest, Yes),
            (Fact::RefreshByReply, Yes),
        ],
    },
    Stack {
        name: "Cilium",
        traits: &[
            (Fact::State, Yes),
            (Fact::Id, Yes),
            (Fact::Seq, No),
            (Fact::Source, Yes),
            (Fact::Destination, Yes),
            (Fact::Replies, Endless),
            (Fact::Timeout, Usually(60.0)),
            (Fact::RefreshByRequest, Yes),
            (Fact::RefreshByReply, Yes),
        ],
    },
    Stack {
        name: "Google Cloud firewall",
        traits: &[
            (Fact::State, Yes),
            (Fact::Source, Yes),
            (Fact::Destination, Yes),
            (Fact::Replies, Endless),
            (Fact::Timeout, Seconds(600.0)),
            (Fact::RefreshByRequest, Yes),
            (Fact::RefreshByReply, Yes),
        ],
    },
    Stack { name: "AWS security group", traits: &[(Fact::State, Yes), (Fact::Id, Yes), (Fact::Replies, Several)] },
    Stack { name: "a stateless list of rules", traits: &[(Fact::State, No)] },
];

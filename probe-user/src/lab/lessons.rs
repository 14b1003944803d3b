//! The experiments that the lab plays, and what each teaches about its firewall when it comes out as designed.

/// A built-in experiment that the lab plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Its name.
    pub name: &'static str,
    /// What it teaches a reader who wants to understand stateful firewalls.
    pub text: &'static str,
}

/// All of them, in teaching order.
pub const ALL: [Lesson; 4] = [
    Lesson {
        name: "normal",
        text: "The firewall has one rule: A may ping. It let the request out and recorded it in its connection table. No \
               rule lets the reply in; it passed because it belongs to a connection in that table. That is what 'stateful' \
               means: send a request, and the reply may come back.",
    },
    Lesson {
        name: "reply-only",
        text: "The replies left B and entered the firewall, and none came out: A sent no request, so there is no \
               connection that they could belong to, and no rule lets them in. Neither host lost them. An echo reply \
               passes only if it was requested, not because it is a reply.",
    },
    Lesson {
        name: "many-replies",
        text: "One request let five replies pass. Linux connection tracking does not count replies, and the first one does \
               not remove the entry: it only times out, by default 30 seconds after the last packet. Until then B may send \
               as many replies with this id as it likes.",
    },
    Lesson {
        name: "id-mismatch",
        text: "Replies X and Y left B in the same second and differ only in their id. The one with the id of A's request \
               arrived; the other entered the firewall and did not come out. So the id is part of the key of the \
               firewall's state. It was neither B's kernel nor its driver: B's NIC counted both replies out, the \
               firewall's NIC counted both in.",
    },
];

/// Returns what the experiment with this name teaches, or `None` if the lab does not play it.
pub fn of(name: &str) -> Option<&'static str> {
    ALL.iter().find(|lesson| lesson.name == name).map(|lesson| lesson.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::experiment::builtin;

    #[test]
    fn names_are_unique_and_built_in_and_lessons_are_short() {
        for lesson in ALL {
            assert!(builtin::named(lesson.name).is_some_and(|script| script.name == lesson.name), "{}", lesson.name);
            assert!(ALL.iter().filter(|other| other.name == lesson.name).count() == 1);
            assert!(lesson.text.matches(". ").count() <= 4, "{}", lesson.name);
        }
        assert_eq!(of("bogus"), None);
    }
}

//! The experiments that the lab plays, and what each teaches about its firewall when it comes out as designed.

/// An experiment of those that probe brings along, as the lab plays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Its name.
    pub name: &'static str,
    /// What it teaches a reader who wants to understand stateful firewalls.
    pub text: &'static str,
}

/// All of them, in the order in which they teach.
pub const ALL: [Lesson; 4] = [
    Lesson {
        name: "normal",
        text: "The firewall has one rule: A may ping. It let the request out and noted it in its connection table. No rule \
               lets the reply in; it passed because it belongs to what the table holds. That is what 'stateful' means: ask, \
               and the answer may come back.",
    },
    Lesson {
        name: "reply-only",
        text: "The replies left B and entered the firewall, and none came out: A never asked, so the connection table has \
               nothing that they could belong to, and no rule lets them in. Neither host lost them. An echo reply is not \
               let in for being a reply, but for having been asked for.",
    },
    Lesson {
        name: "many-replies",
        text: "One request let five replies in. Linux connection tracking does not count replies, and the first one does \
               not close the entry: it ends by time alone, by default 30 seconds after the last packet. Until then B may \
               send as many replies with this id as it likes.",
    },
    Lesson {
        name: "id-mismatch",
        text: "Replies X and Y left B in the same second and differ in nothing but the id. The one with the id that A had \
               asked with arrived; the other entered the firewall and did not come out. So the id is part of what the \
               firewall remembers. It was neither B's kernel nor its driver: B's NIC counted both replies out, the \
               firewall's NIC counted both in.",
    },
];

/// Returns what the experiment with this name teaches; none: the lab does not play it.
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

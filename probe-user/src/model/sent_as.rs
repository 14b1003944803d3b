//! Whom probes are sent as, where that is somebody else than the process that sends them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whom the probes were sent as: what the kernel, rules and programs tell a sender by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentAs {
    /// What people call it, e.g. `unit app.service`.
    pub name: String,
    /// The process that all of it was taken from; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The program that this process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The user's name; absent: the id has none here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user, by which rules of routing and of netfilter choose.
    pub uid: u32,
    /// The group, by which ping sockets are allowed.
    pub gid: u32,
    /// The further groups.
    pub groups: Vec<u32>,
    /// The cgroup below the root of the hierarchy; absent: that of probe itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The security label that the sockets were made with; absent: that of probe itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The program whose file lets its sockets be raw ones, where they were and the process itself may not have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_by: Option<String>,
    /// What of it was not taken on, as clauses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_taken: Vec<String>,
}

impl SentAs {
    /// Returns all of it as a line for people.
    pub fn text(&self) -> String {
        let process = self.pid.map(|pid| format!("pid {pid}")).filter(|process| !self.name.ends_with(&process[4..]));
        let process: Vec<String> = self.program.clone().into_iter().chain(process).collect();
        let process = if process.is_empty() { String::new() } else { format!(" ({})", process.join(", ")) };
        let user = self.user.as_ref().map_or_else(|| self.uid.to_string(), |name| format!("{name} ({})", self.uid));
        let groups: Vec<String> =
            self.groups.iter().filter(|group| **group != self.gid).map(ToString::to_string).collect();
        let groups = if groups.is_empty() { String::new() } else { format!(" and {}", groups.join(", ")) };
        let who = match self.pid {
            Some(_) => format!("{}{process}: user {user}", self.name),
            None => format!("user {user}"),
        };
        let mut text = format!("{who}, group {}{groups}", self.gid);
        if let Some(cgroup) = &self.cgroup {
            text.push_str(&format!(", cgroup {cgroup}"));
        }
        if let Some(label) = &self.label {
            text.push_str(&format!(", label {label}"));
        }
        if let Some(ping) = &self.raw_by {
            text.push_str(&format!("; by a raw socket, which it may have by the file {ping} alone"));
        }
        if !self.not_taken.is_empty() {
            text.push_str(&format!("; not taken on: {}", self.not_taken.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_all_that_was_taken_on_and_what_was_not() {
        let user = SentAs { name: "user nobody".into(), uid: 65_534, gid: 65_534, ..SentAs::default() };
        assert_eq!(user.text(), "user 65534, group 65534");
        let unit = SentAs {
            name: "unit app.service".into(),
            pid: Some(77),
            program: Some("app".into()),
            user: Some("www".into()),
            uid: 33,
            gid: 33,
            groups: vec![33, 100],
            cgroup: Some("/system.slice/app.service".into()),
            not_taken: vec!["its seccomp filter".into()],
            ..SentAs::default()
        };
        assert_eq!(
            unit.text(),
            "unit app.service (app, pid 77): user www (33), group 33 and 100, cgroup /system.slice/app.service; not taken \
             on: its seccomp filter"
        );
        let process =
            SentAs { name: "process 77".into(), pid: Some(77), program: Some("app".into()), ..SentAs::default() };
        assert!(process.text().starts_with("process 77 (app): user 0"), "{}", process.text());
    }
}

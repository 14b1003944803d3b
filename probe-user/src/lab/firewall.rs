//! The firewall's rules as data, and how they get into its namespace.

use std::time::Duration;

use super::{
    error::{Capability, LabError},
    netns::Netns,
};
use crate::host::{
    child::{self, Finished},
    command,
};

/// The time limit of nft, which takes milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A set of rules: one nftables table.
#[derive(Clone, Copy, Debug)]
pub struct FirewallRules {
    /// The table's name, family `inet`.
    pub table: &'static str,
    /// The whole table, as `nft -f` reads it.
    pub rules: &'static str,
}

/// A security group around A: A may ping anyone, nobody may ping A, and replies pass by connection tracking.
pub const SECURITY_GROUP: FirewallRules = FirewallRules {
    table: "probe_lab",
    rules: r#"
table inet probe_lab {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "a" ct state new icmp type echo-request accept
        iifname "a" ct state new icmpv6 type echo-request accept
    }
}
"#,
};

/// Loads `set` into the namespace in one transaction.
pub fn load(netns: &Netns, set: &FirewallRules) -> Result<(), LabError> {
    nft(netns, "load the firewall's rules", &["-f", "-"], set.rules).map(drop)
}

/// Removes `set` from the namespace, where it must exist.
pub fn unload(netns: &Netns, set: &FirewallRules) -> Result<(), LabError> {
    nft(netns, "remove the firewall's rules", &["delete", "table", "inet", set.table], "").map(drop)
}

/// Returns the table of `set` as it is now, as nft prints it without counters, or `None` if it does not exist.
pub fn list(netns: &Netns, set: &FirewallRules) -> Result<Option<String>, LabError> {
    match nft(netns, "list the firewall's rules", &["--stateless", "list", "table", "inet", set.table], "") {
        Err(LabError::Nft { message, .. }) if message.contains("No such file or directory") => Ok(None),
        result => result.map(Some),
    }
}

/// Runs nft inside with `input`, and returns what it printed.
fn nft(netns: &Netns, attempt: &'static str, arguments: &[&str], input: &str) -> Result<String, LabError> {
    let mut command = netns.command(command::find("nft").ok_or(LabError::NoNft)?);
    let refused = |source| LabError::system("run nft", Capability::SysAdmin, source);
    let finished = child::run(command.args(arguments).env("LC_ALL", "C"), input.as_bytes(), LIMIT).map_err(refused)?;
    if finished.status.success() { Ok(finished.stdout) } else { Err(complaint(attempt, &finished)) }
}

/// Converts the output of a failed nft to an error.
fn complaint(attempt: &'static str, finished: &Finished) -> LabError {
    let text = &finished.stderr;
    if text.contains("Operation not permitted") {
        return LabError::NotPrivileged { attempt: attempt.into(), capability: Capability::NetAdmin };
    }
    LabError::Nft { attempt, message: first_complaint(text).unwrap_or_else(|| finished.status.to_string()) }
}

/// Returns the message alone of what nft prints: a message, the line in question, and a row of carets.
fn first_complaint(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("Error:")).or_else(|| text.lines().next())?;
    let message = line.split_once("Error:").map_or(line, |(_, message)| message).trim();
    (!message.is_empty()).then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_nft_prints_the_message_is_told() {
        let text = "/dev/stdin:3:9-12: Error: Could not process rule: No such file or directory\n   drip\n   ^^^^\n";
        assert_eq!(first_complaint(text).as_deref(), Some("Could not process rule: No such file or directory"));
        assert_eq!(first_complaint("netlink: broken\n").as_deref(), Some("netlink: broken"));
        assert_eq!(first_complaint("\n"), None);
    }

    #[test]
    fn the_rules_are_of_the_table_that_they_are_listed_by() {
        assert!(SECURITY_GROUP.rules.contains(&format!("table inet {} {{", SECURITY_GROUP.table)));
    }
}

//! The text of a rule as nft prints it.

use crate::{
    host::{command, or_log},
    model::netfilter::TableFamily,
};

/// Lists a table with nft, handles included; empty if nft fails.
pub(super) fn list(family: TableFamily, table: &str) -> String {
    or_log("nft", command::output("nft", &["-a", "list", "table", family.name(), table])).unwrap_or_default()
}

/// Finds the rule with this handle in a chain of a listing: lines `chain NAME { # handle N`, then rules, then `}`.
pub(super) fn rule(listing: &str, chain: &str, handle: u64) -> Option<String> {
    let head = format!("chain {chain} {{");
    let tail = format!(" # handle {handle}");
    let lines = listing.lines().map(str::trim);
    let mut inside = lines.skip_while(|line| !line.starts_with(&head)).skip(1).take_while(|line| *line != "}");
    inside.find_map(|line| line.strip_suffix(&tail).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing of nft 1.0.6.
    const LISTING: &str = "\
table inet filter { # handle 1
\tchain input { # handle 1
\t\ttype filter hook input priority filter; policy accept;
\t\ticmp type echo-request counter packets 1 bytes 84 drop comment \"no pings\" # handle 12
\t}

\tchain other { # handle 2
\t\tct state invalid drop # handle 1
\t}
}
";

    #[test]
    fn a_rule_is_found_by_chain_and_handle() {
        let expected = "icmp type echo-request counter packets 1 bytes 84 drop comment \"no pings\"";
        assert_eq!(rule(LISTING, "input", 12).as_deref(), Some(expected));
        assert_eq!(rule(LISTING, "other", 1).as_deref(), Some("ct state invalid drop"));
        assert_eq!(rule(LISTING, "input", 1), None);
        assert_eq!(rule(LISTING, "none", 1), None);
    }
}

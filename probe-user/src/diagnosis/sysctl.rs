//! The name of a kernel setting, as `sysctl` takes it.

/// Returns the name of the setting at `path` below `/proc/sys`: with dots, unless a device's name has some itself
/// (`eth0.5`): then with its slashes, which sysctl(8) takes as well.
pub(super) fn name(path: &str) -> String {
    if path.contains('.') { path.to_owned() } else { path.replace('/', ".") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_between_words_unless_a_word_has_one() {
        assert_eq!(name("net/ipv4/conf/eth0/rp_filter"), "net.ipv4.conf.eth0.rp_filter");
        assert_eq!(name("net/ipv4/conf/eth0.7/rp_filter"), "net/ipv4/conf/eth0.7/rp_filter");
    }
}

//! What raw and ping sockets lost because nobody read them: for raw sockets the kernel makes no drop event for that.

use std::fs;

use crate::{
    host::counter::{CounterKey, Counters},
    host::or_log,
};

/// The files that list such sockets, below `/proc/thread-self/net`.
const FILES: [&str; 4] = ["raw", "raw6", "icmp", "icmp6"];

/// Reads the losses of every raw and ping socket of this network namespace.
pub fn read() -> Counters {
    let one = |file: &str| {
        let path = format!("/proc/thread-self/net/{file}");
        parse(file, &or_log(&path, fs::read_to_string(&path)).unwrap_or_default())
    };
    FILES.into_iter().flat_map(one).collect()
}

/// Parses one line per socket, below a line of names (`dgram_seq_show` in `net/ipv4/udp.c`): the tenth word is the inode,
/// the last the number of lost packets.
fn parse(file: &str, text: &str) -> Counters {
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (inode, lost) = (words.get(9)?.parse().ok()?, words.get(12)?.parse().ok()?);
        Some((CounterKey { name: format!("{file}.drops"), owner: inode }, lost))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_has_its_losses() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n   \
            1: 00000000:0001 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 81234 2 00000000c0ffee00 11\n   \
            2: 0A4D000A:0001 144E000A:0000 07 00000000:00000000 00:00000000 00000000  1000        0 81235 2 0000000000000000 0\n";
        let key = |owner| CounterKey { name: "raw.drops".to_owned(), owner };
        assert_eq!(parse("raw", text), Counters::from([(key(81_234), 11), (key(81_235), 0)]));
    }

    #[test]
    fn no_sockets_no_counters() {
        assert_eq!(parse("raw6", "  sl  local_address\n"), Counters::new());
        assert_eq!(parse("raw6", ""), Counters::new());
        assert_eq!(parse("raw6", "head\n 1: a b\n"), Counters::new());
    }
}

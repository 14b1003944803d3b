//! Encodes nftables netlink messages (`include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`): numbers in attributes
//! are big-endian, headers in the machine's own order.

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const NFTABLES: u16 = 10;

/// `NFPROTO_INET`, `NFPROTO_NETDEV` and `NFPROTO_BRIDGE`.
pub(super) const INET: u8 = 1;
pub(super) const NETDEV: u8 = 5;
pub(super) const BRIDGE: u8 = 7;

/// Bytes of `struct nlmsghdr`, and of the `struct nfgenmsg` after it.
pub(super) const HEADER: usize = 16;
pub(super) const GENERIC: usize = 4;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Encodes an attribute.
pub(super) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Encodes an attribute that holds others.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// Encodes a number, big-endian.
pub(super) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// Encodes a string with the final zero that the kernel requires.
pub(super) fn string(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// Messages that take effect together or not at all.
pub(super) struct Batch {
    bytes: Vec<u8>,
    orders: u32,
}

impl Batch {
    /// Returns an empty batch.
    pub(super) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), orders: 0 };
        batch.push(BATCH_BEGIN, REQUEST, 0, NFTABLES, &[]);
        batch
    }

    /// Adds a request to create an object of the family with this `NFPROTO_*` number: `NFT_MSG_NEW…`.
    pub(super) fn make(&mut self, family: u8, kind: u16, attributes: &[Vec<u8>]) {
        self.orders += 1;
        self.push(NFTABLES << 8 | kind, REQUEST | ACK | CREATE | APPEND, family, 0, attributes);
    }

    /// Adds a request to delete an object of that family: `NFT_MSG_DEL…`.
    pub(super) fn delete(&mut self, family: u8, kind: u16, attributes: &[Vec<u8>]) {
        self.orders += 1;
        self.push(NFTABLES << 8 | kind, REQUEST | ACK, family, 0, attributes);
    }

    /// Returns the whole batch, and the number of acknowledgements to expect.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        self.push(BATCH_END, REQUEST, 0, NFTABLES, &[]);
        (self.bytes, self.orders)
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[Vec<u8>]) {
        let payload = attributes.concat();
        let length = u32::try_from(HEADER + GENERIC + payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.orders.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(payload);
    }
}

/// A received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NetlinkMessage<'a> {
    /// Its type.
    pub(super) kind: u16,
    /// What follows `struct nlmsghdr`.
    pub(super) payload: &'a [u8],
}

/// Splits a datagram into its messages; a truncated one is left out.
pub(super) fn messages(mut rest: &[u8]) -> Vec<NetlinkMessage<'_>> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        let length = length as usize;
        let Some(payload) = rest.get(HEADER..length) else { break };
        found.push(NetlinkMessage { kind, payload });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Splits `rest` into attributes: kind, without its flags, and payload.
pub(super) fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let Some(payload) = rest.get(4..length) else { break };
        found.push((kind & 0x3fff, payload));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Reads the number at `at` in the machine's byte order.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut batch = Batch::new();
        batch.make(INET, 3, &[string(1, "abc"), nested(4, &[number(1, 7)])]);
        let (bytes, orders) = batch.finish();
        assert_eq!(orders, 1);
        let messages = messages(&bytes);
        assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [0x10, 0x0a03, 0x11]);
        let found = attributes(&messages[1].payload[GENERIC..]);
        assert_eq!(found[0], (1, &b"abc\0"[..]));
        assert_eq!(attributes(found[1].1), [(1, &[0, 0, 0, 7][..])]);
    }

    #[test]
    fn what_is_cut_short_ends_the_list() {
        assert_eq!(messages(&[0; 3]), []);
        assert_eq!(messages(&[0; 32]), []);
        assert_eq!(attributes(&[8, 0, 1, 0, 1]), []);
        assert_eq!(attributes(&[0; 4]), []);
    }
}

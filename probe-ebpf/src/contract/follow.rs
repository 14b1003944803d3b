//! Echoes of other programs that a run follows: what distinguishes them, and the number that each gets at first sight,
//! by which its journey is noted like that of a probe.

use bytemuck::{Pod, Zeroable};

/// An address, IPv4 as `::ffff:a.b.c.d`: two numbers in the order of its bytes.
pub type AddressWords = [u64; 2];

/// In a key: any address, for packets whose own address was rewritten.
pub const ANY: AddressWords = [0; 2];

/// Returns the key of an echo: its two ends, `near` asking and `far` answering, id and sequence number, as one number.
/// A key with all of that would not fit on a program's stack. Two echoes of a run have the same key with a probability
/// of 2^-64, which nobody can raise without knowing the run's `seed`.
#[inline(always)]
pub const fn echo_key(near: AddressWords, far: AddressWords, id: u16, seq: u16, seed: u64) -> u64 {
    let mut key = mixed(seed ^ near[0]);
    key = mixed(key ^ near[1]);
    key = mixed(key ^ far[0]);
    key = mixed(key ^ far[1]);
    mixed(key ^ ((id as u64) << 16 | seq as u64))
}

/// Returns a word each bit of which depends on all bits of this one (the finalizer of `SplitMix64`).
#[inline(always)]
pub const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Bytes of a process's name, the final zero included (`TASK_COMM_LEN`).
pub const PROGRAM_BYTES: usize = 16;

/// One echo that is followed, as its request was when it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FollowedEntry {
    /// `CLOCK_MONOTONIC` in nanoseconds; 0: this number was not given.
    pub first_ns: u64,
    /// The address of the end that asks.
    pub near: AddressWords,
    /// The address of the end that answers.
    pub far: AddressWords,
    /// The name of the process that sent it; zeros: not known.
    pub program: [u8; PROGRAM_BYTES],
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Where it was first seen: one of [`SENT`], [`SENT_BY_PACKET_SOCKET`], [`LEAVES`], [`CAME`].
    pub sight: u32,
    /// The process that sent it, as it is numbered in [`super::Config::pid_namespace`]; 0: not known.
    pub process: u32,
    /// The type of the socket that sent it (`SOCK_DGRAM` is a ping socket); 0: none, or not known.
    pub socket: u32,
}

/// [`FollowedEntry::sight`] and bits of the map [`super::names::FOLLOW_SIGHTS`]: where requests get numbers.
///
/// At the first program of netfilter's output hook.
pub const SENT: u32 = 1;
/// At the device's queue, for packet sockets: what they send passes no netfilter hook.
pub const SENT_BY_PACKET_SOCKET: u32 = 2;
/// At the device's queue, for any socket: for kernels without netfilter programs.
pub const LEAVES: u32 = 4;
/// Where it enters this host, from any network.
pub const CAME: u32 = 8;

/// [`super::Config::follow`]: echoes of other programs are followed, no probes.
pub const FOLLOW: u32 = 1;
/// And only those to [`super::Config::far`].
pub const TO_ONE_TARGET: u32 = 2;
/// And only those with [`super::Config::id`].
pub const OF_ONE_ID: u32 = 4;
/// And only those of the process [`super::Config::process`] and of its children.
pub const OF_ONE_PROCESS: u32 = 8;

/// In the map of keys: several echoes have this key, so it identifies none of them.
pub const AMBIGUOUS: u32 = u32::MAX;

/// How many echoes of others are remembered that a run does not follow, so that they are not taken for rewritten ones.
pub const MAX_OTHERS: u32 = 16_384;

/// How many ancestors of a sending process are looked at for [`OF_ONE_PROCESS`].
pub const MAX_ANCESTORS: usize = 12;

/// How many levels of pid namespaces below the first are looked at.
pub const PID_LEVELS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_first_sight_are_bits_of_their_own() {
        let all = [SENT, SENT_BY_PACKET_SOCKET, LEAVES, CAME];
        assert_eq!(all.iter().fold(0, |bits, bit| bits | bit).count_ones() as usize, all.len());
        let asked = [FOLLOW, TO_ONE_TARGET, OF_ONE_ID, OF_ONE_PROCESS];
        assert_eq!(asked.iter().fold(0, |bits, bit| bits | bit).count_ones() as usize, asked.len());
    }

    #[test]
    fn a_followed_echo_is_whole_words() {
        assert!(size_of::<FollowedEntry>().is_multiple_of(8));
    }

    #[test]
    fn each_part_of_an_echo_makes_another_key() {
        let (near, far) = ([1, 2], [3, 4]);
        let keys = [
            echo_key(near, far, 5, 6, 7),
            echo_key(far, near, 5, 6, 7),
            echo_key([2, 1], far, 5, 6, 7),
            echo_key(ANY, far, 5, 6, 7),
            echo_key(near, ANY, 5, 6, 7),
            echo_key(near, far, 6, 5, 7),
            echo_key(near, far, 5, 7, 7),
            echo_key(near, far, 5, 6, 8),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(keys[0], echo_key(near, far, 5, 6, 7));
    }
}

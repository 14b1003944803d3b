//! The location of a state: a keyed hash that nobody can aim without knowing the secret.

use super::GuardKey;

/// The location of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its set.
    pub set: u32,
    /// The part of the hash that its [`super::Word`] holds, in position.
    pub tag: u64,
}

/// Returns the location of the state with this key.
#[inline(always)]
pub fn home(key: &GuardKey, secret: &[u64; 5], set_mask: u32) -> Home {
    let hash = hash(&bytemuck::cast::<GuardKey, [u64; 5]>(*key), secret);
    // Never 0, which an empty place holds.
    Home { set: hash as u32 & set_mask, tag: ((hash >> 52) | 1) & super::word::TAG_MASK }
}

/// Returns the tag of the share that a state of this asker counts for, as its [`super::Word`] holds it, in position.
#[inline(always)]
pub fn share_tag(asker: &[u64; 2], family: u8, secret: &[u64; 5]) -> u64 {
    // For IPv6 the network counts: its hosts choose the other half of their addresses freely.
    let words = [asker[0], if family == 6 { 0 } else { asker[1] }];
    (hash(&words, &[secret[3], secret[4]]) << super::word::SHARE_SHIFT) & super::word::SHARE_MASK
}

/// Hashes by NH (RFC 4418 §5.2.2): any two keys share a hash with probability 2^-32 while the secret is secret. Its low bits
/// are not evenly distributed, so the last step of `MurmurHash3` mixes them.
#[inline(always)]
fn hash<const N: usize>(words: &[u64; N], secret: &[u64; N]) -> u64 {
    let mut sum = 0_u64;
    let mut index = 0;
    while index < N {
        let (word, secret) = (words[index], secret[index]);
        let low = (word as u32).wrapping_add(secret as u32);
        let high = ((word >> 32) as u32).wrapping_add((secret >> 32) as u32);
        sum = sum.wrapping_add(u64::from(low).wrapping_mul(u64::from(high)));
        index += 1;
    }
    let stirred = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let stirred = (stirred ^ (stirred >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    stirred ^ (stirred >> 33)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec::Vec};

    use super::*;

    const SECRET: [u64; 5] = [
        0x243f_6a88_85a3_08d3,
        0x1319_8a2e_0370_7344,
        0xa409_3822_299f_31d0,
        0x082e_fa98_ec4e_6c89,
        0x4528_21e6_38d0_1377,
    ];

    fn key(id: u16) -> GuardKey {
        GuardKey { id, family: 4, ..bytemuck::Zeroable::zeroed() }
    }

    #[test]
    fn ids_that_follow_each_other_spread_over_the_sets() {
        let mut sets = [0_u32; 64];
        for id in 0..6_400 {
            sets[home(&key(id), &SECRET, 63).set as usize] += 1;
        }
        assert!(sets.iter().all(|count| (50..=150).contains(count)), "{sets:?}");
    }

    #[test]
    fn another_secret_is_another_table_and_no_tag_is_that_of_an_empty_place() {
        let places = |secret| (0..1_000).map(|id| home(&key(id), &secret, 1023).set).collect::<Vec<_>>();
        assert_ne!(places(SECRET), places([1, 2, 3, 4, 5]));
        assert!((0..=u16::MAX).all(|id| home(&key(id), &SECRET, 0).tag != 0));
    }

    #[test]
    fn a_share_is_of_one_ipv4_address_and_of_one_ipv6_network() {
        let v4 = |last| share_tag(&bytemuck::cast(crate::packet::mapped([10, 0, 0, last])), 4, &SECRET);
        let tags: BTreeSet<u64> = (0..=255).map(v4).collect();
        assert!(tags.len() > 200, "{}", tags.len());
        let v6 = |network: u8, host: u8| {
            let mut address = [0_u8; 16];
            (address[7], address[15]) = (network, host);
            share_tag(&bytemuck::cast(address), 6, &SECRET)
        };
        assert_eq!(v6(1, 1), v6(1, 2));
        assert_ne!(v6(1, 1), v6(2, 1));
    }
}

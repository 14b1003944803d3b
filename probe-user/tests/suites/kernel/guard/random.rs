//! Random guards and random packets: few of each kind, so that they meet.

use std::{num::NonZeroU32, time::Duration};

use probe_ebpf::{Kind, packet::mapped};
use probe_user::filter::guard::{
    CodeRule, Enforce, GuardOptions, Protect, Refresh, RequestPolicy, StateKey, model::ModelPacket,
};

use super::both::Place;
use crate::kernel::random::Random;

/// A guard with random options.
pub(super) fn options(random: &mut Random) -> GuardOptions {
    let mut one_in = |number: usize| random.below(number) == 0;
    let mut key = if one_in(3) { StateKey::ADDRESSES } else { StateKey::ADDRESSES_AND_ID };
    for field in [StateKey::SOURCE, StateKey::DESTINATION, StateKey::ID, StateKey::SEQ, StateKey::CODE] {
        if one_in(4) {
            key = if one_in(3) { field } else { key.and(field) };
        }
    }
    let after_reply = one_in(2);
    let limited = one_in(2);
    let code = if one_in(3) { CodeRule::Zero } else { CodeRule::Any };
    let enforce = if one_in(5) { Enforce::DryRun } else { Enforce::Drop };
    let deny = one_in(2);
    let protect = [Protect::In, Protect::Out, Protect::Both][random.below(3)];
    GuardOptions {
        protect,
        key,
        code,
        timeout: seconds(random),
        timeout_after_reply: after_reply.then(|| seconds(random)),
        refresh: [Refresh::EVERY, Refresh::REQUESTS, Refresh::REPLIES, Refresh::NOTHING][random.below(4)],
        replies: limited.then(|| NonZeroU32::new(1 + random.below(3) as u32)).flatten(),
        requests: if deny && protect != Protect::Both { RequestPolicy::Deny } else { RequestPolicy::Allow },
        // Small tables overflow.
        states: [16, 32, 64, 1024][random.below(4)],
        enforce,
    }
}

/// A guard whose table is soon full of states that were answered, and stays so.
pub(super) fn crowded() -> GuardOptions {
    let timeout = Duration::from_secs(36_000);
    GuardOptions { protect: Protect::Both, key: StateKey::ID, timeout, states: 16, ..GuardOptions::default() }
}

/// A guard that forgets, but not before more has been replied than was asked for.
pub(super) fn strict() -> GuardOptions {
    GuardOptions {
        protect: Protect::Both,
        key: StateKey::ID,
        code: CodeRule::Zero,
        timeout: Duration::from_secs(200),
        refresh: Refresh::NOTHING,
        replies: NonZeroU32::new(1),
        ..GuardOptions::default()
    }
}

/// A guard that lets no request in.
pub(super) fn deaf() -> GuardOptions {
    GuardOptions { requests: RequestPolicy::Deny, ..GuardOptions::default() }
}

/// From a tenth of a second to eight.
fn seconds(random: &mut Random) -> Duration {
    Duration::from_millis(100 << random.below(7))
}

/// An echo packet between few hosts with few ids.
pub(super) fn packet(random: &mut Random) -> (Place, ModelPacket) {
    let place = Place::ALL[random.below(4)];
    let kind = Kind::ALL[random.below(4)];
    let v4 = |host: usize| mapped([10, 0, 0, host as u8]);
    let v6 = |host: usize| {
        let mut address = [0; 16];
        // Two networks of two hosts.
        (address[0], address[7], address[15]) = (0xfd, host as u8 / 2, host as u8 % 2);
        address
    };
    let address: [u8; 16] = match kind.family {
        probe_ebpf::Family::V4 => v4(random.below(4)),
        probe_ebpf::Family::V6 => v6(random.below(4)),
    };
    let other: [u8; 16] = match kind.family {
        probe_ebpf::Family::V4 => v4(random.below(4)),
        probe_ebpf::Family::V6 => v6(random.below(4)),
    };
    let code = if random.below(6) == 0 { random.below(3) as u8 } else { 0 };
    let (id, seq) = (random.below(24) as u16, random.below(3) as u16);
    (place, ModelPacket { direction: place.direction(), kind, code, id, seq, source: address, destination: other })
}

//! Probes without a mark: recognized by id, sequence number and one end's address.

use probe_ebpf::{
    contract::journey::{Numbers, is_between, numbered},
    packet::EchoPacket,
};

use super::{
    config::{config, id},
    follow::{self, EndWords},
};

/// Source and destination of a packet, as [`probe_ebpf::packet::addresses`] returns them.
pub(crate) type Ends = ([u8; 16], [u8; 16]);

/// Returns which probe a packet with these ends is by its id and sequence number, if that is asked for; or which of the
/// followed echoes.
#[inline(always)]
pub(crate) fn numbered_between(packet: &EchoPacket, ends: EndWords) -> Option<u32> {
    if follow::is_on() {
        return follow::find(packet, ends);
    }
    let probe = by_number(packet)?;
    let near = [config!(near[0]), config!(near[1])];
    let far = [config!(far[0]), config!(far[1])];
    is_between(packet.kind.echo, ends, near, far).then_some(probe)
}

/// Returns which probe a packet is by its id and sequence number alone, if that is asked for.
#[inline(always)]
pub(crate) fn by_number(packet: &EchoPacket) -> Option<u32> {
    let id = id()?;
    let numbers = Numbers { id, first_seq: config!(first_seq) as u16, probes: config!(probes) as u16 };
    numbered(packet, &numbers)
}

//! The same parser from two compilers: whatever the bytes, the kernel's answer must be the host's.

use probe_ebpf::packet::{LinkLayer, parse};
use probe_user::ebpf::load::Job;

use super::{
    loaded::{ALL_HOPS, Counted, Loaded, can_be_run},
    random::{Random, seeded},
    ready::ready,
    samples::{echoes, others, skipped},
};

/// How many frames each hop is given.
const FRAMES: usize = 10_000;

impl Random {
    fn byte(&mut self) -> u8 {
        // Small numbers and those that headers are made of come often: most others end at the first branch.
        const USUAL: [u8; 16] = [0, 1, 2, 6, 8, 43, 44, 58, 60, 0x45, 0x60, 0x81, 0x88, 0x20, 128, 129];
        if self.below(2) == 0 { USUAL[self.below(USUAL.len())] } else { self.next().to_le_bytes()[0] }
    }

    /// A frame from `bases` with up to five bytes changed, then perhaps cut or lengthened; now and then only noise.
    fn frame(&mut self, bases: &[Vec<u8>]) -> Vec<u8> {
        if self.below(20) == 0 {
            return (0..14 + self.below(150)).map(|_| self.byte()).collect();
        }
        let mut frame = bases[self.below(bases.len())].clone();
        for _ in 0..self.below(6) {
            // Not the MAC addresses, which nobody reads.
            let at = 12 + self.below(frame.len() - 12);
            frame[at] = self.byte();
        }
        match self.below(4) {
            0 => frame.truncate(14 + self.below(frame.len() - 13)),
            1 => frame.resize(frame.len() + self.below(64), self.byte()),
            _ => {}
        }
        frame
    }
}

#[test]
fn the_kernel_reads_random_frames_as_the_host_does() {
    if !ready("the_kernel_reads_random_frames_as_the_host_does") {
        return;
    }
    let (seed, mut random) = seeded();
    let bases: Vec<Vec<u8>> = echoes()
        .into_iter()
        .map(|sample| sample.frame)
        .chain(skipped().into_iter().map(|(_, frame, _)| frame))
        .chain(others().into_iter().map(|(_, frame)| frame))
        .collect();
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    let mut echoes = 0;
    for number in 0..FRAMES {
        let frame = random.frame(&bases);
        let read = parse(&frame[..], LinkLayer::Ethernet).map(|echo| Counted {
            kind: echo.kind,
            id: echo.id,
            bytes: u64::from(echo.ip_bytes),
        });
        echoes += usize::from(read.is_ok());
        let about = format!("PROBE_SEED={seed}, frame {number}: {frame:02x?}");
        for hop in ALL_HOPS.into_iter().filter(|hop| can_be_run(*hop, &frame)) {
            loaded.expect(hop, &frame, read, &about);
        }
    }
    loaded.check();
    assert!(echoes > FRAMES / 10 && echoes < FRAMES * 9 / 10, "{echoes} of {FRAMES} frames are echo: too one-sided");
}

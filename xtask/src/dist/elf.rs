//! Whether a program is what a release ships: for its processor, and static.

use anyhow::{Context as _, Result, bail};

const PT_INTERP: u32 = 3;

/// Reports whether it is a static program of any processor.
pub(crate) fn is_static(program: &[u8]) -> bool {
    let machine = program.get(18..20).map(|two| u16::from_le_bytes([two[0], two[1]]));
    machine.is_some_and(|machine| check(program, machine).is_ok())
}

/// Checks a program's ELF headers (elf.h, 64 bits, little endian).
///
/// # Errors
/// It is for another processor, or needs a dynamic loader.
pub(crate) fn check(program: &[u8], machine: u16) -> Result<()> {
    if !program.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is no 64-bit little-endian ELF program");
    }
    let half = |at: usize| program.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let (theirs, count, size) = (half(18), half(56), half(54));
    let start = program.get(32..40).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes);
    let (Some(theirs), Some(count), Some(size), Some(start)) = (theirs, count, size, start) else {
        bail!("its ELF header is cut off");
    };
    if theirs != machine {
        bail!("it is for machine {theirs} of ELF, not {machine}");
    }
    for index in 0..usize::from(count) {
        let at = usize::try_from(start).ok().and_then(|start| start.checked_add(index * usize::from(size)));
        let kind = at.and_then(|at| program.get(at..at + 4)?.try_into().ok()).map(u32::from_le_bytes);
        if kind.context("its program headers are cut off")? == PT_INTERP {
            bail!("it needs a dynamic loader: it is not static");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u16, kinds: &[u32]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_le_bytes());
        for kind in kinds {
            let at = bytes.len();
            bytes.resize(at + 56, 0);
            bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_static_program_has_no_interpreter() {
        assert!(check(&program(62, &[1, 2]), 62).is_ok());
        assert!(check(&program(62, &[1, PT_INTERP]), 62).unwrap_err().to_string().contains("not static"));
    }

    #[test]
    fn another_processor_and_damaged_files_are_refused() {
        assert!(check(&program(183, &[1]), 62).unwrap_err().to_string().contains("183"));
        assert!(check(b"#!/bin/sh\n", 62).is_err());
        let whole = program(62, &[1, 1]);
        assert!(check(&whole[..70], 62).unwrap_err().to_string().contains("cut off"));
        assert!(check(&whole[..40], 62).unwrap_err().to_string().contains("cut off"));
    }
}

//! The BPF instructions that trials and tests need.

use bytemuck::{Pod, Zeroable};

/// One instruction: `struct bpf_insn`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        Self { code, registers, offset, immediate }
    }

    /// Converts an instruction that a loader made.
    pub(crate) fn from_parts(code: u8, [to, from]: [u8; 2], offset: i16, immediate: i32) -> Self {
        Self::new(code, to, from, offset, immediate)
    }

    /// Encodes `to = value`, 64 bits, sign extended.
    pub const fn set(to: u8, value: i32) -> Self {
        Self::new(0xb7, to, 0, 0, value)
    }

    /// Encodes `to = *(u32 *)(from + offset)`.
    pub const fn load_word(to: u8, from: u8, offset: i16) -> Self {
        Self::new(0x61, to, from, offset, 0)
    }

    /// Encodes `to += from`, 64 bits.
    pub const fn add(to: u8, from: u8) -> Self {
        Self::new(0x0f, to, from, 0, 0)
    }

    /// Skips `count` instructions if `left > right`, both unsigned.
    pub const fn skip_if_greater(left: u8, right: u8, count: i16) -> Self {
        Self::new(0x2d, left, right, count, 0)
    }

    /// Encodes a call of the kernel's helper with this number: `enum bpf_func_id` of `include/uapi/linux/bpf.h`.
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, 0, 0, helper)
    }

    /// Encodes `return r0`.
    pub const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }
}

/// Builds the program that only returns `verdict`.
pub const fn always(verdict: i32) -> [Instruction; 2] {
    [Instruction::set(0, verdict), Instruction::exit()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_eight_bytes_with_the_target_register_first() {
        assert_eq!(bytemuck::bytes_of(&Instruction::exit()), [0x95, 0, 0, 0, 0, 0, 0, 0]);
        let [code, registers, ..] = bytemuck::cast::<_, [u8; 8]>(Instruction::add(4, 2));
        let expected = if cfg!(target_endian = "little") { 0x24 } else { 0x42 };
        assert_eq!((code, registers), (0x0f, expected));
    }
}

//! The frozen global with the offsets of the running kernel's fields.

use probe_ebpf::contract::offsets::Offsets;

/// In `.rodata`: the verifier knows the offsets as constants, and so allows pointers to kernel structures to be read.
#[unsafe(no_mangle)]
pub(crate) static PROBE_OFFSETS: Offsets = Offsets::NONE;

/// Reads the offset of one field.
macro_rules! offset {
    ($field:ident) => {{
        let field = &raw const $crate::kernel::offsets::PROBE_OFFSETS.$field;
        // SAFETY: points to a field of a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
pub(crate) use offset;

/// Reads the field of type `$type` at the offset `$field` of the kernel structure at `$structure`, a pointer that the kernel
/// passed to the program or that was read from such a structure. If it points nowhere, the kernel reads zeros.
macro_rules! field {
    ($structure:expr, $field:ident, $type:ty) => {{
        let structure: *const u8 = $structure;
        let at = structure.wrapping_add($crate::kernel::offsets::offset!($field) as usize);
        // SAFETY: the offset is the running kernel's own, and the verifier checks that the field can be read there.
        unsafe { core::ptr::read_volatile(at.cast::<$type>()) }
    }};
}
pub(crate) use field;

//! The frozen global that says where the running kernel keeps which field.

use probe_ebpf::contract::offsets::Offsets;

/// In `.rodata`: the verifier knows the offsets as constants, and so lets pointers to kernel structures be read.
#[unsafe(no_mangle)]
pub(crate) static PROBE_OFFSETS: Offsets = Offsets::NONE;

/// The offset of one field.
macro_rules! offset {
    ($field:ident) => {{
        let field = &raw const $crate::kernel::offsets::PROBE_OFFSETS.$field;
        // SAFETY: points to a field of a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
pub(crate) use offset;

/// The field of type `$type` at the offset `$field` of the kernel structure at `$structure`, a pointer that the kernel
/// handed to the program or that was read from such a structure. Where it points nowhere the kernel reads zeros.
macro_rules! field {
    ($structure:expr, $field:ident, $type:ty) => {{
        let structure: *const u8 = $structure;
        let at = structure.wrapping_add($crate::kernel::offsets::offset!($field) as usize);
        // SAFETY: the offset is the running kernel's own, and the verifier checks that the field can be read there.
        unsafe { core::ptr::read_volatile(at.cast::<$type>()) }
    }};
}
pub(crate) use field;

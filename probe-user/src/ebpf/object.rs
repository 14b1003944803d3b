//! The kernel half in this binary: the BPF object that the build script compiled, or nothing in a stub build.

use crate::error::Mend;

/// Aligned for ELF, which a plain `include_bytes!` does not promise.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe.bpf.o"));

/// This binary was compiled without a BPF toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this probe was built without its kernel half")]
pub struct Missing;

impl Mend for Missing {
    fn fix(&self) -> String {
        "run: cargo xtask build".to_owned()
    }
}

/// Returns the BPF object: an ELF file with BTF, ready for aya's loader.
///
/// # Errors
/// [`Missing`] in a stub build.
pub fn bytes() -> Result<&'static [u8], Missing> {
    if cfg!(probe_stub) { Err(Missing) } else { Ok(OBJECT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    #[test]
    fn a_stub_build_says_so_and_any_other_carries_an_elf_file() {
        match bytes() {
            Ok(object) => {
                assert!(object.starts_with(b"\x7fELF"));
                assert_eq!(object.as_ptr().align_offset(8), 0);
            }
            Err(missing) => {
                assert!(OBJECT.is_empty());
                let text = Failure::from(missing).to_string();
                assert_eq!(text, "this probe was built without its kernel half — run: cargo xtask build");
            }
        }
    }
}

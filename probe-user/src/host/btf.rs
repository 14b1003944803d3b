//! The running kernel's own description of its types (BTF): field offsets, enumerator names, tracepoint arguments.
//! A parser of `Documentation/bpf/btf.rst` on plain bytes.

mod raw;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs, io};

use raw::{Raw, Type, TypeKind};

use crate::error::Mend;

/// Where the kernel publishes its BTF.
const PATH: &str = "/sys/kernel/btf/vmlinux";

/// How many structures within structures, and names for names, are followed: far more than any kernel has.
const DEPTH: usize = 32;

/// The types of one kernel.
#[derive(Debug)]
pub struct Btf(Raw);

/// Why the BTF can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file can't be read.
    #[error("cannot read {PATH}: {0}")]
    Unreadable(#[source] io::Error),
    /// It is no BTF, or is truncated.
    #[error("the kernel's BTF cannot be read: {0}")]
    Malformed(&'static str),
}

impl Mend for BtfError {
    fn fix(&self) -> String {
        "drop events need a kernel with CONFIG_DEBUG_INFO_BTF, and /sys mounted".to_owned()
    }
}

/// Something that this kernel lacks, or has in another form than probe reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// No such structure, enum or tracepoint.
    #[error("this kernel has no {0}")]
    Type(String),
    /// No such field.
    #[error("this kernel's struct {structure} has no field {path}")]
    Field {
        /// The structure.
        structure: String,
        /// The field, with dots.
        path: String,
    },
    /// The field has another size, or is a bitfield.
    #[error("this kernel's {path} has {bits} bits, probe reads {wanted}")]
    Size {
        /// Structure and field.
        path: String,
        /// Its size.
        bits: u32,
        /// The size that was expected.
        wanted: u32,
    },
    /// The tracepoint has another signature.
    #[error("this kernel's tracepoint {name} is ({}), probe expects ({})", found.join(", "), wanted.join(", "))]
    Signature {
        /// The tracepoint.
        name: String,
        /// Its arguments.
        found: Vec<String>,
        /// Those that were expected.
        wanted: Vec<String>,
    },
}

/// Where a field is within its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldOffset {
    /// Bits from the start of the structure.
    pub bit: u32,
    /// Its size in bits.
    pub bits: u32,
}

/// Returns the bytes of the running kernel's BTF.
///
/// # Errors
/// [`BtfError::Unreadable`] if the kernel has none or `/sys` is not mounted.
pub fn read() -> Result<Vec<u8>, BtfError> {
    fs::read(PATH).map_err(BtfError::Unreadable)
}

impl Btf {
    /// Reads and parses the running kernel's BTF.
    ///
    /// # Errors
    /// As [`read`], and [`BtfError::Malformed`].
    pub fn running() -> Result<Self, BtfError> {
        Self::parse(read()?)
    }

    /// Parses `bytes`.
    ///
    /// # Errors
    /// [`BtfError::Malformed`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        Raw::parse(bytes).map(Self).map_err(BtfError::Malformed)
    }

    /// Returns the position of the field `path` of the structure `structure`, such as `nd_net.net` of `net_device`. Unnamed
    /// structures and unions are searched too.
    pub fn place(&self, structure: &str, path: &str) -> Result<FieldOffset, Lack> {
        let no_field = || Lack::Field { structure: structure.to_owned(), path: path.to_owned() };
        let mut of =
            self.0.find(TypeKind::Struct, structure).ok_or_else(|| Lack::Type(format!("struct {structure}")))?;
        let mut bit = 0;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let member = self.member(of, name, DEPTH).ok_or_else(no_field)?;
            bit += member.bit;
            if names.peek().is_none() {
                return Ok(FieldOffset { bit, bits: member.bits });
            }
            of = self.0.peeled(member.of).ok_or_else(no_field)?;
        }
        Err(no_field())
    }

    /// Returns the offset in bytes of a field that has exactly `bytes` bytes.
    pub fn offset(&self, structure: &str, path: &str, bytes: u32) -> Result<u32, Lack> {
        let place = self.place(structure, path)?;
        if place.bits != bytes * 8 || place.bit % 8 != 0 {
            let path = format!("{structure}.{path}");
            return Err(Lack::Size { path, bits: place.bits, wanted: bytes * 8 });
        }
        Ok(place.bit / 8)
    }

    /// Returns the names of the enum `name`, by number.
    pub fn enumerators(&self, name: &str) -> Result<BTreeMap<u32, String>, Lack> {
        let found = self.0.find(TypeKind::Enum, name).ok_or_else(|| Lack::Type(format!("enum {name}")))?;
        Ok(self.0.enumerators(found).map(|(name, value)| (value, name.to_owned())).collect())
    }

    /// Returns the types of the arguments of the tracepoint `name`, in C notation: `struct sk_buff *`.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<String>, Lack> {
        let absent = || Lack::Type(format!("tracepoint {name}"));
        let typedef = self.0.find(TypeKind::Typedef, &format!("btf_trace_{name}")).ok_or_else(absent)?;
        let pointer = self.0.peeled(typedef.points_to).filter(|found| found.kind == TypeKind::Pointer);
        let proto = pointer.and_then(|pointer| self.0.peeled(pointer.points_to));
        let proto = proto.filter(|found| found.kind == TypeKind::FuncProto).ok_or_else(absent)?;
        // The first is the private data of the listener that the kernel registers.
        Ok(self.0.parameters(proto).skip(1).map(|id| self.written(id, DEPTH)).collect())
    }

    /// Checks that the tracepoint `name` passes these arguments first; more may follow.
    ///
    /// # Errors
    /// [`Lack::Type`] or [`Lack::Signature`].
    pub fn match_proto(&self, name: &str, arguments: &[&str]) -> Result<(), Lack> {
        let found = self.tracepoint(name)?;
        if found.len() >= arguments.len() && found.iter().zip(arguments).all(|(found, wanted)| found == wanted) {
            return Ok(());
        }
        let wanted = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Err(Lack::Signature { name: name.to_owned(), found, wanted })
    }

    fn member(&self, of: Type, name: &str, depth: usize) -> Option<Member> {
        if depth == 0 || !matches!(of.kind, TypeKind::Struct | TypeKind::Union) {
            return None;
        }
        for member in self.0.members(of) {
            let inner = self.0.peeled(member.of);
            if member.name == name {
                let whole = inner.map_or(0, |inner| self.0.bits(inner));
                return Some(Member { of: member.of, bit: member.bit, bits: member.bitfield.unwrap_or(whole) });
            }
            if member.name.is_empty()
                && let Some(found) = inner.and_then(|inner| self.member(inner, name, depth - 1))
            {
                return Some(Member { bit: member.bit + found.bit, ..found });
            }
        }
        None
    }

    /// Writes a type in C notation, without qualifiers.
    fn written(&self, id: u32, depth: usize) -> String {
        if id == 0 {
            return "void".to_owned();
        }
        let Some(found) = self.0.get(id).filter(|_| depth > 0) else { return "?".to_owned() };
        let name = self.0.name(found);
        match found.kind {
            TypeKind::Pointer => {
                let target = self.written(found.points_to, depth - 1);
                if target.ends_with('*') { format!("{target}*") } else { format!("{target} *") }
            }
            TypeKind::Qualifier => self.written(found.points_to, depth - 1),
            TypeKind::Struct => format!("struct {name}"),
            TypeKind::Union => format!("union {name}"),
            TypeKind::Enum => format!("enum {name}"),
            TypeKind::Forward => format!("struct {name}"),
            TypeKind::FuncProto => "function".to_owned(),
            _ => name.to_owned(),
        }
    }
}

/// A field of a structure.
#[derive(Clone, Copy)]
struct Member {
    /// Its type.
    of: u32,
    /// Bits from the start of that structure.
    bit: u32,
    /// Its size in bits.
    bits: u32,
}

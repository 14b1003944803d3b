//! The binary layout of BTF: a header, a table of types, a heap of names (`include/uapi/linux/btf.h`).

use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

/// The kind of a type, as far as probe distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeKind {
    /// `BTF_KIND_INT` and `BTF_KIND_FLOAT`.
    Number,
    /// `BTF_KIND_PTR`.
    Pointer,
    /// `BTF_KIND_ARRAY`.
    Array,
    /// `BTF_KIND_STRUCT`.
    Struct,
    /// `BTF_KIND_UNION`.
    Union,
    /// `BTF_KIND_ENUM` and `BTF_KIND_ENUM64`.
    Enum,
    /// `BTF_KIND_FWD`.
    Forward,
    /// `BTF_KIND_TYPEDEF`.
    Typedef,
    /// `const`, `volatile`, `restrict` and type tags.
    Qualifier,
    /// `BTF_KIND_FUNC_PROTO`.
    FuncProto,
    /// Functions, variables, sections and tags of declarations.
    Other,
}

/// One type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    /// Its kind.
    pub(super) kind: TypeKind,
    /// The type that it names, points to or qualifies; for other kinds its size in bytes.
    pub(super) points_to: u32,
    name: u32,
    count: u32,
    flag: bool,
    wide: bool,
    /// Where the part after the common header starts.
    rest: usize,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawMember<'a> {
    /// Its name; empty for unnamed structures and unions.
    pub(super) name: &'a str,
    /// Its type.
    pub(super) of: u32,
    /// Bits from the start of the structure.
    pub(super) bit: u32,
    /// Its size in bits, if it is a bitfield.
    pub(super) bitfield: Option<u32>,
}

/// BTF in which every type was found to be complete.
#[derive(Debug)]
pub(super) struct Raw {
    bytes: Vec<u8>,
    names: Range<usize>,
    /// Where each type starts; number 0, `void`, has none.
    starts: Vec<usize>,
}

impl Raw {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let word = |at: usize| Some(word(bytes.get(at..)?)? as usize);
        let magic = bytes.first_chunk::<2>().map(|magic| u16::from_ne_bytes(*magic));
        if magic != Some(MAGIC) {
            return Err("it does not start like BTF of this byte order");
        }
        let section = |offset: usize, length: usize| -> Option<Range<usize>> {
            let start = word(4)?.checked_add(word(offset)?)?;
            let range = start..start.checked_add(word(length)?)?;
            bytes.get(range.clone()).map(|_| range)
        };
        if word(4).is_none_or(|header| header < HEADER_BYTES) {
            return Err("its header is too short");
        }
        let types = section(8, 12).ok_or("its types are truncated")?;
        let names = section(16, 20).ok_or("its names are truncated")?;
        let mut raw = Self { bytes, names, starts: Vec::new() };
        let mut at = types.start;
        while at < types.end {
            let (_, end) = raw.read(at).filter(|(_, end)| *end <= types.end).ok_or("one of its types is truncated")?;
            raw.starts.push(at);
            at = end;
        }
        Ok(raw)
    }

    /// Returns the type with this number; `None` for `void` and for unused numbers.
    pub(super) fn get(&self, id: u32) -> Option<Type> {
        let start = *self.starts.get((id as usize).checked_sub(1)?)?;
        self.read(start).map(|(found, _)| found)
    }

    /// Returns the type behind all qualifiers and typedefs.
    pub(super) fn peeled(&self, id: u32) -> Option<Type> {
        let mut found = self.get(id)?;
        for _ in 0..super::DEPTH {
            if !matches!(found.kind, TypeKind::Qualifier | TypeKind::Typedef) {
                return Some(found);
            }
            found = self.get(found.points_to)?;
        }
        None
    }

    /// Returns the first type of that kind and name.
    pub(super) fn find(&self, kind: TypeKind, name: &str) -> Option<Type> {
        let types = self.starts.iter().filter_map(|start| self.read(*start));
        types.map(|(found, _)| found).find(|found| found.kind == kind && self.is_at(found.name, name))
    }

    /// Reports whether the name at `offset` is `name`. A kernel has more than 100,000 types, and for most of them the first
    /// letter decides.
    fn is_at(&self, offset: u32, name: &str) -> bool {
        let here = self.bytes[self.names.clone()].get(offset as usize..).unwrap_or_default();
        here.starts_with(name.as_bytes()) && here.get(name.len()).is_none_or(|end| *end == 0)
    }

    pub(super) fn name(&self, of: Type) -> &str {
        self.text(of.name)
    }

    /// Returns the size of a type in bits; 0 if it has none.
    pub(super) fn bits(&self, of: Type) -> u32 {
        match of.kind {
            TypeKind::Number | TypeKind::Struct | TypeKind::Union | TypeKind::Enum => of.points_to.saturating_mul(8),
            TypeKind::Pointer => usize::BITS,
            TypeKind::Array => {
                let element = self.word(of.rest).and_then(|id| self.peeled(id)).map_or(0, |element| self.bits(element));
                element.saturating_mul(self.word(of.rest + 8).unwrap_or(0))
            }
            _ => 0,
        }
    }

    pub(super) fn members(&self, of: Type) -> impl Iterator<Item = RawMember<'_>> {
        (0..of.count as usize).filter_map(move |index| {
            let at = of.rest + index * 12;
            let (name, id, place) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (bit, width) = if of.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            Some(RawMember { name: self.text(name), of: id, bit, bitfield: (width > 0).then_some(width) })
        })
    }

    pub(super) fn enumerators(&self, of: Type) -> impl Iterator<Item = (&str, u32)> {
        let stride = if of.wide { 12 } else { 8 };
        (0..of.count as usize).filter_map(move |index| {
            let at = of.rest + index * stride;
            Some((self.text(self.word(at)?), self.word(at + 4)?))
        })
    }

    /// Returns the types of a function's parameters.
    pub(super) fn parameters(&self, of: Type) -> impl Iterator<Item = u32> {
        (0..of.count as usize).filter_map(move |index| self.word(of.rest + index * 8 + 4))
    }

    /// Reads the type that starts at `at`; returns it and where it ends.
    fn read(&self, at: usize) -> Option<(Type, usize)> {
        let (name, info, points_to) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
        let count = info & 0xffff;
        let number = (info >> 24) & 0x1f;
        let (kind, fixed, each) = match number {
            1 => (TypeKind::Number, 4, 0),
            2 => (TypeKind::Pointer, 0, 0),
            3 => (TypeKind::Array, 12, 0),
            4 => (TypeKind::Struct, 0, 12),
            5 => (TypeKind::Union, 0, 12),
            6 => (TypeKind::Enum, 0, 8),
            7 => (TypeKind::Forward, 0, 0),
            8 => (TypeKind::Typedef, 0, 0),
            9 | 10 | 11 | 18 => (TypeKind::Qualifier, 0, 0),
            13 => (TypeKind::FuncProto, 0, 8),
            16 => (TypeKind::Number, 0, 0),
            19 => (TypeKind::Enum, 0, 12),
            12 => (TypeKind::Other, 0, 0),
            14 | 17 => (TypeKind::Other, 4, 0),
            15 => (TypeKind::Other, 0, 12),
            _ => return None,
        };
        let rest = at + TYPE_BYTES;
        let found = Type { kind, points_to, name, count, flag: info >> 31 == 1, wide: number == 19, rest };
        Some((found, rest + fixed + each * count as usize))
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(self.bytes.get(at..)?)
    }

    fn text(&self, offset: u32) -> &str {
        let names = &self.bytes[self.names.clone()];
        let name = names.get(offset as usize..).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        std::str::from_utf8(&name[..end]).unwrap_or_default()
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

//! Tests of the parser on a few types made by hand, and on the running kernel's.

use super::*;

/// Builds BTF.
#[derive(Default)]
struct Made {
    types: Vec<u32>,
    names: Vec<u8>,
    count: u32,
}

impl Made {
    fn new() -> Self {
        Self { names: vec![0], ..Self::default() }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.names.len()).expect("small");
        self.names.extend(name.bytes().chain([0]));
        at
    }

    /// Adds a type; `info` holds kind, flag and count as in the format.
    fn add(&mut self, name: &str, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.name(name);
        self.types.extend([name, info, size_or_type]);
        self.types.extend(rest);
        self.count += 1;
        self.count
    }

    fn structure(&mut self, kind: u32, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let rest: Vec<u32> = members.iter().flat_map(|(name, of, place)| [self.name(name), *of, *place]).collect();
        let flag = if members.iter().any(|(_, _, place)| place >> 24 > 0) { 1 << 31 } else { 0 };
        self.add(name, flag | kind << 24 | u32::try_from(members.len()).expect("few"), bytes, &rest)
    }

    fn bytes(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_ne_bytes();
        let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        out.extend(24_u32.to_ne_bytes());
        out.extend(0_u32.to_ne_bytes());
        out.extend(length(&types));
        out.extend(length(&types));
        out.extend(length(&self.names));
        out.extend(types);
        out.extend(&self.names);
        out
    }
}

const INT: u32 = 1 << 24;
const POINTER: u32 = 2 << 24;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6 << 24;
const TYPEDEF: u32 = 8 << 24;
const CONST: u32 = 10 << 24;
const PROTO: u32 = 13 << 24;
const TYPE_TAG: u32 = 18 << 24;

/// Builds `struct box { long a; union { struct { int deep; char flag:3; }; long other; }; const named_t inner; }`.
fn boxed() -> Made {
    let mut made = Made::new();
    let long = made.add("long", INT, 8, &[64]);
    let int = made.add("int", INT, 4, &[32]);
    let named = made.structure(STRUCT, "named", 16, &[("first", long, 0), ("second", int, 64)]);
    let alias = made.add("named_t", TYPEDEF, named, &[]);
    let constant = made.add("", CONST, alias, &[]);
    let unnamed = made.structure(STRUCT, "", 8, &[("deep", int, 0), ("flag", int, 3 << 24 | 32)]);
    let either = made.structure(UNION, "", 8, &[("", unnamed, 0), ("other", long, 0)]);
    made.structure(STRUCT, "box", 32, &[("a", long, 0), ("", either, 64), ("inner", constant, 128)]);
    made
}

#[test]
fn fields_are_found_through_unnamed_types_typedefs_and_const() {
    let btf = Btf::parse(boxed().bytes()).expect("BTF");
    assert_eq!(btf.offset("box", "a", 8), Ok(0));
    assert_eq!(btf.offset("box", "deep", 4), Ok(8));
    assert_eq!(btf.offset("box", "other", 8), Ok(8));
    assert_eq!(btf.offset("box", "inner.second", 4), Ok(24));
}

#[test]
fn a_bitfield_has_its_place_but_no_offset() {
    let btf = Btf::parse(boxed().bytes()).expect("BTF");
    assert_eq!(btf.place("box", "flag"), Ok(FieldOffset { bit: 96, bits: 3 }));
    let lack = btf.offset("box", "flag", 1).expect_err("three bits");
    assert_eq!(lack.to_string(), "this kernel's box.flag has 3 bits, probe reads 8");
}

#[test]
fn what_is_not_there_is_named() {
    let btf = Btf::parse(boxed().bytes()).expect("BTF");
    let text = |lack: Result<u32, Lack>| lack.expect_err("not there").to_string();
    assert_eq!(text(btf.offset("crate", "a", 8)), "this kernel has no struct crate");
    assert_eq!(text(btf.offset("box", "inner.third", 8)), "this kernel's struct box has no field inner.third");
    assert_eq!(text(btf.offset("box", "a.b", 8)), "this kernel's struct box has no field a.b");
    assert_eq!(text(btf.offset("box", "a", 4)), "this kernel's box.a has 64 bits, probe reads 32");
}

/// Builds `void (*btf_trace_freed)(void *, struct box *, void *, const enum why)`.
fn traced() -> Made {
    let mut made = boxed();
    let boxed = 8;
    let (one, two) = (made.name("WHY_ONE"), made.name("WHY_TWO"));
    let why = made.add("why", ENUM | 2, 4, &[one, 1, two, 0x0002_0000]);
    let pointer = made.add("", POINTER, 0, &[]);
    let tag = made.add("rcu", TYPE_TAG, boxed, &[]);
    let to_box = made.add("", POINTER, tag, &[]);
    let constant = made.add("", CONST, why, &[]);
    let proto = made.add("", PROTO | 4, 0, &[0, pointer, 0, to_box, 0, pointer, 0, constant]);
    let to_proto = made.add("", POINTER, proto, &[]);
    made.add("btf_trace_freed", TYPEDEF, to_proto, &[]);
    made
}

#[test]
fn a_tracepoint_tells_its_arguments() {
    let btf = Btf::parse(traced().bytes()).expect("BTF");
    assert_eq!(btf.tracepoint("freed"), Ok(vec!["struct box *".into(), "void *".into(), "enum why".into()]));
    assert_eq!(btf.match_proto("freed", &["struct box *", "void *"]), Ok(()));
    let lack = btf.match_proto("freed", &["struct box *", "enum why"]).expect_err("another order");
    assert_eq!(
        lack.to_string(),
        "this kernel's tracepoint freed is (struct box *, void *, enum why), probe expects (struct box *, enum why)"
    );
    assert_eq!(btf.match_proto("lost", &[]), Err(Lack::Type("tracepoint lost".into())));
}

#[test]
fn an_enum_tells_its_names() {
    let btf = Btf::parse(traced().bytes()).expect("BTF");
    let names = btf.enumerators("why").expect("an enum");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [(1, "WHY_ONE".into()), (0x0002_0000, "WHY_TWO".into())]);
    assert!(btf.enumerators("box").is_err());
}

#[test]
fn btf_that_is_cut_off_anywhere_is_refused_or_read_without_panic() {
    let whole = traced().bytes();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length} bytes");
    }
    let mut other = whole;
    other[0] = 0x7f;
    assert!(matches!(Btf::parse(other), Err(BtfError::Malformed(_))));
}

#[test]
fn the_running_kernel_is_read() {
    let Some(btf) = crate::skip::running_btf("the_running_kernel_is_read") else { return };
    assert_eq!(btf.offset("sk_buff", "dev", 8).expect("a field"), 16);
    let buffer = btf.place("sk_buff", "pkt_type").expect("a bitfield");
    assert_eq!(buffer.bits, 3);
    assert_eq!(btf.match_proto("net_dev_xmit", &["struct sk_buff *", "int", "struct net_device *"]), Ok(()));
    assert!(btf.enumerators("skb_drop_reason").expect("an enum").values().any(|name| name.ends_with("NETFILTER_DROP")));
}

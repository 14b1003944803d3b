//! The kernel's symbols: which function an address belongs to, by `/proc/kallsyms`.

use std::{
    fs, io, iter,
    ops::Range,
    str,
    thread::{self, JoinHandle},
};

use memchr::{memchr, memchr_iter};

/// Where the kernel lists its symbols.
const PATH: &str = "/proc/kallsyms";

/// No function is longer than this: the address is in a gap, where code was removed or never listed.
const LONGEST: u64 = 1 << 20;

/// The kernel's functions at the time they were read: modules and programs come and go.
#[derive(Debug, Default)]
pub struct Symbols {
    text: String,
    /// Address and position of the name in the text; sorted by address.
    functions: Vec<(u64, Range<u32>)>,
}

/// An address as an offset into a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolOffset<'a> {
    /// The function.
    pub function: &'a str,
    /// Bytes from its start.
    pub offset: u64,
}

impl Symbols {
    /// Reads the symbols. Call it after programs are attached: attaching makes functions of its own.
    ///
    /// # Errors
    /// The kernel's answer. Without `CAP_SYSLOG` it lists every address as zero: then nothing is [known](Self::are_known),
    /// which is no error.
    pub fn read() -> io::Result<Self> {
        fs::read_to_string(PATH).map(Self::parse)
    }

    /// Parses `text`: lines of address, type, name and perhaps a module.
    pub fn parse(text: String) -> Self {
        let mut functions: Vec<(u64, Range<u32>)> = Vec::new();
        let mut start = 0;
        let bytes = text.as_bytes();
        for end in memchr_iter(b'\n', bytes).chain(iter::once(bytes.len())) {
            functions.extend(bytes.get(start..end).and_then(|line| function(line, start)));
            start = end + 1;
        }
        // A stable sort: of several names for one address the first listed comes first.
        functions.sort_by_key(|(address, _)| *address);
        functions.dedup_by_key(|(address, _)| *address);
        Self { text, functions }
    }

    /// Reports whether the kernel shows addresses to this process.
    pub fn are_known(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Returns the function that `address` belongs to; `None` if that is not known.
    pub fn place(&self, address: u64) -> Option<SymbolOffset<'_>> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < LONGEST).then(|| SymbolOffset { function: self.name(name), offset })
    }

    /// Returns the name of the function that `address` belongs to, or the address if that is not known.
    pub fn function(&self, address: u64) -> String {
        self.place(address).map_or_else(|| format!("{address:#x}"), |place| place.function.to_owned())
    }

    /// Returns the address ranges of the function `name`, and of the parts that the compiler split off it (`name.cold`,
    /// `name.part.0`).
    pub fn ranges(&self, name: &str) -> Vec<Range<u64>> {
        let belongs =
            |found: &str| found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let followed = self.functions.windows(2).filter(|pair| belongs(self.name(&pair[0].1)));
        followed.map(|pair| pair[0].0..pair[1].0.min(pair[0].0 + LONGEST)).collect()
    }

    fn name(&self, range: &Range<u32>) -> &str {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// Symbols that are read in the background.
#[derive(Debug)]
pub struct Awaited {
    reading: Option<JoinHandle<Symbols>>,
    read: Symbols,
}

impl Awaited {
    /// Starts reading the symbols. What the kernel does not show stays unknown.
    pub fn begin() -> Self {
        let read = || Symbols::read().unwrap_or_default();
        match thread::Builder::new().spawn(read) {
            Ok(reading) => Self { reading: Some(reading), read: Symbols::default() },
            Err(_) => Self { reading: None, read: read() },
        }
    }

    /// Waits for the symbols and returns them.
    pub fn get(&mut self) -> &Symbols {
        if let Some(reading) = self.reading.take() {
            self.read = reading.join().unwrap_or_default();
        }
        &self.read
    }
}

/// Parses address and function name from `line`, which starts at `start` in the text and ends before its line feed; `None`
/// for data, and for hidden addresses.
fn function(line: &[u8], start: usize) -> Option<(u64, Range<u32>)> {
    let width = memchr(b' ', line)?;
    let [kind, b' ', name @ ..] = line.get(width + 1..)? else { return None };
    if !matches!(kind, b't' | b'T' | b'w' | b'W') {
        return None;
    }
    let address = u64::from_str_radix(str::from_utf8(&line[..width]).ok()?, 16).ok()?;
    let from = start + line.len() - name.len();
    let length = memchr(b'\t', name).unwrap_or(name.len());
    let range = u32::try_from(from).ok()?..u32::try_from(from + length).ok()?;
    (address != 0).then_some((address, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t icmp_rcv
ffffffff81000100 T alias
ffffffff81000200 t icmp_rcv.part.0
ffffffff81000280 D data
ffffffff81000300 T icmp_rcv_more
ffffffffc0000000 t nft_do_chain\t[nf_tables]
";

    #[test]
    fn an_address_is_a_place_in_the_function_before_it() {
        let symbols = Symbols::parse(LISTED.to_owned());
        assert_eq!(symbols.place(0xffff_ffff_8100_0112), Some(SymbolOffset { function: "icmp_rcv", offset: 0x12 }));
        assert_eq!(symbols.function(0xffff_ffff_8100_0290), "icmp_rcv.part.0");
        assert_eq!(symbols.function(0xffff_ffff_c000_0010), "nft_do_chain");
    }

    #[test]
    fn an_address_in_no_function_stays_a_number() {
        let symbols = Symbols::parse(LISTED.to_owned());
        assert_eq!(symbols.function(0x1000), "0x1000");
        assert_eq!(symbols.function(0xffff_ffff_f000_0000), "0xfffffffff0000000");
    }

    #[test]
    fn hidden_addresses_make_nothing_known() {
        let symbols = Symbols::parse("0000000000000000 T icmp_rcv\n0000000000000000 T ip_rcv\n".to_owned());
        assert!(!symbols.are_known());
        assert_eq!(symbols.function(0x10), "0x10");
        assert!(symbols.ranges("icmp_rcv").is_empty());
    }

    #[test]
    fn a_functions_split_parts_belong_to_it_and_longer_names_do_not() {
        let symbols = Symbols::parse(LISTED.to_owned());
        let ranges = symbols.ranges("icmp_rcv");
        assert_eq!(
            ranges,
            [0xffff_ffff_8100_0100..0xffff_ffff_8100_0200, 0xffff_ffff_8100_0200..0xffff_ffff_8100_0300]
        );
    }
}

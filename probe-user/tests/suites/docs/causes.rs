//! `docs/causes/`: a page for each place where a packet can die, and the words of a verdict.

use std::fmt::Write as _;

use probe_user::{
    diagnosis::{
        advice::table::{Advice, TABLE},
        names::{FUNCTIONS, HOOKS, REASONS},
        places::DropPoint::{self, *},
        rules::RULES,
    },
    model::{
        stage::{HOSTS, LAYERS},
        verdict::StopHost,
    },
};

use super::{
    hops::{Gap, gaps},
    pages::{MADE, Pages},
    sources::{kebab, variants},
    transcripts,
};

/// Every place, in path order.
pub(super) const ALL: [DropPoint; 35] = [
    Encapsulation,
    Call,
    Source,
    NfOutput,
    Reroute,
    NfPostrouting,
    CgroupOut,
    FragmentOut,
    Neighbour,
    NfEgress,
    TcOut,
    Qdisc,
    DriverOut,
    TunProgram,
    Network,
    Bridge,
    DriverIn,
    Xdp,
    TcIn,
    NfIngress,
    IpHeader,
    NfPrerouting,
    RouteIn,
    NfForward,
    Reassembly,
    NfInput,
    Icmp,
    Answer,
    RouteBack,
    RateLimit,
    CgroupIn,
    SocketLookup,
    SocketFilter,
    SocketBuffer,
    Decapsulation,
];

const PLACES: &str = include_str!("../../../src/diagnosis/places.rs");
const VERDICT: &str = include_str!("../../../src/model/verdict.rs");
const DOCUMENT: &str = include_str!("../../../src/diagnosis/document.rs");

/// The name of its page.
pub(super) fn name(place: DropPoint) -> String {
    kebab(&format!("{place:?}"))
}

pub(super) fn pages() -> Pages {
    let (said, gaps) = (variants(PLACES, "DropPoint"), gaps());
    let mut pages = Pages::new();
    let mut list = "| cause | layer | what is there |\n|---|---|---|\n".to_owned();
    assert_eq!(ALL.len(), said.len(), "a place is missing here");
    for (place, (variant, doc)) in ALL.into_iter().zip(&said) {
        assert_eq!(format!("{place:?}"), *variant, "the order of the sources");
        let _ = writeln!(list, "| [{0}]({0}.md) | {1} | {doc} |", name(place), place.layer().name());
        pages.insert(format!("causes/{}.md", name(place)), page(place, doc, &gaps));
    }
    pages.insert("causes/README.md".to_owned(), index(&list));
    pages
}

fn index(list: &str) -> String {
    let words = |source: &str, of: &str| {
        let rows = variants(source, of).into_iter().map(|(name, doc)| format!("| `{}` | {doc} |\n", snake(&name)));
        format!("| word | meaning |\n|---|---|\n{}\n", rows.collect::<String>())
    };
    let mut rules = String::new();
    for (number, rule) in RULES.iter().enumerate() {
        let _ = writeln!(rules, "{}. {}", number + 1, rule.name);
    }
    let anywhere: String = TABLE.iter().filter(|row| row.place.is_empty()).map(advice).collect();
    format!(
        "# Verdicts and causes\n\n{MADE}## How a run ended\n\n{}## Where packets stop\n\n{}## How sure that is\n\n{}\
         ## Exit status of `--exit-code stage`\n\nThe number of the host and that of the layer, added: `$(( status / 16 ))` and \
         `$(( status % 16 ))` take\nit apart. Of several stops it is that of most packets. 0, 1, 2 and 130 mean what they \
         always mean.\n\n{}## What says so\n\n{}## Causes, in path order\n\nA page for each place where a packet can die: how that is \
         proven, what it means, what mends it.\n\n{list}\nAnywhere:\n\n{HEAD}{anywhere}\n## Which witness decides\n\n\
         For each gap these rules are asked in turn; the first that answers decides. What somebody said of the very \
         packets comes\nbefore what was looked up.\n\n{rules}",
        words(VERDICT, "Outcome"),
        words(VERDICT, "StopHost"),
        words(VERDICT, "Confidence"),
        stages(),
        words(DOCUMENT, "Witness"),
    )
}

/// The tables of exit statuses.
fn stages() -> String {
    let row = |name: &str, number: &u8| format!("| {number} | `{name}` |\n");
    let name = |host: &StopHost| snake(&format!("{host:?}"));
    let hosts: String = HOSTS.iter().map(|(host, number)| row(&name(host), number)).collect();
    let layers: String = LAYERS.iter().map(|(layer, number)| row(layer.name(), number)).collect();
    format!("| number | host |\n|---|---|\n{hosts}\n| number | layer |\n|---|---|\n{layers}\n")
}

fn snake(name: &str) -> String {
    kebab(name).replace('-', "_")
}

const HEAD: &str = "| reason | what it means | commands to type |\n|---|---|---|\n";

/// A row of the table of advice; the last one, which says nothing, gives nothing.
fn advice(row: &Advice) -> String {
    if row.meaning.is_empty() {
        return String::new();
    }
    let reason = if row.reason.is_empty() { "any other".to_owned() } else { format!("`{}`", row.reason) };
    let commands: Vec<String> = row.commands.iter().map(|text| format!("`{}`", text.replace('|', "\\|"))).collect();
    format!("| {reason} | {} | {} |\n", row.meaning, commands.join("<br>"))
}

fn page(place: DropPoint, doc: &str, gaps: &[Gap]) -> String {
    let mut text = format!("# {}\n\n{MADE}{doc} Layer `{}`", name(place), place.layer().name());
    text += &place.hook().map_or_else(|| ".\n".to_owned(), |hook| format!(", hook `{hook}`.\n"));
    text += "\n## How it is proven\n\n";
    let mut proofs = String::new();
    for gap in gaps.iter().filter(|gap| gap.places.iter().any(|location| location.place == place)) {
        let others: Vec<String> =
            gap.places.iter().filter(|other| other.place != place).map(|o| name(o.place)).collect();
        let to_other = gap.from.checkpoint.host != gap.to.checkpoint.host;
        let whose = if to_other { " of the other host" } else { "" };
        let (from, to) = (gap.from.checkpoint.station.name(), gap.to.checkpoint.station.name());
        let besides = if others.is_empty() {
            "nothing else lies there".to_owned()
        } else {
            format!("also there: {}", others.join(", "))
        };
        let line = format!("- Counters: packets are seen at `{from}` and not at `{to}`{whose}; {besides}.\n");
        // Both legs pass the same hops.
        if !proofs.contains(&line) {
            proofs += &line;
        }
    }
    text += &proofs;
    let names = |table: &[(&str, &[DropPoint])]| {
        let fit = table.iter().filter(|(_, places)| places.contains(&place));
        fit.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let callers: Vec<String> =
        HOOKS.iter().filter(|(_, hook)| *hook == place).map(|(name, _)| format!("`{name}`")).collect();
    for (what, names) in [
        ("The kernel's drop event has the reason", names(REASONS)),
        ("The kernel's drop event names the function", names(FUNCTIONS)),
        ("A drop event of netfilter has on its stack", callers.join(", ")),
    ] {
        if !names.is_empty() {
            let _ = writeln!(text, "- {what} {names}.");
        }
    }
    let rows: String = TABLE.iter().filter(|row| row.place.contains(&place)).map(advice).collect();
    text += "\nA name that ends in `*` stands for all that begin so. How sure a stop is: [method](../method.md).\n";
    text + "\n## What it means, and what mends it\n\nThe first reason that fits; words in braces are filled in.\n\n"
        + HEAD
        + &rows
        + &transcripts::section(place)
}

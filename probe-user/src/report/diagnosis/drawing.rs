//! The path as a drawing: for each leg and host a line of hops with how many probes passed, and where they stop.

use std::io::{self, Write};

use probe_ebpf::Hop;

use super::LABEL;
use crate::{
    diagnosis::{
        Diagnosis,
        document::{HopState, Host, State, Stop},
        path::{Checkpoint, Side, Station},
    },
    report::style::{Style, Tone},
    sighting::Leg,
};

/// A leg's word.
pub(super) fn leg_name(leg: Leg) -> &'static str {
    match leg {
        Leg::Request => "request",
        Leg::Reply => "reply",
    }
}

/// A hop of the drawing: one hop, or the first and the last of a netfilter hook.
struct Cell {
    name: &'static str,
    first: Checkpoint,
    last: Checkpoint,
    /// Passed its last hop.
    passed: usize,
    blind: bool,
}

/// One line of the drawing.
struct Track {
    leg: Leg,
    host: Side,
    cells: Vec<Cell>,
}

/// Draws both legs.
pub(super) fn draw(out: &mut dyn Write, diagnosis: &Diagnosis, style: &Style) -> io::Result<()> {
    let tracks = tracks(diagnosis);
    let heads: Vec<String> = tracks.iter().map(|track| head(diagnosis, track.host)).collect();
    let column = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0) + 2;
    let mut over = None;
    let mut drawn: Option<Leg> = None;
    for (track, head) in tracks.iter().zip(&heads) {
        if track.leg != Leg::Request && over == Some(Leg::Request) {
            break;
        }
        if over.is_some() {
            continue;
        }
        if drawn == Some(track.leg) || (drawn.is_some() && crosses(&tracks, track)) {
            network(out, diagnosis, track, column, style)?;
        }
        let label = if drawn == Some(track.leg) { "" } else { leg_name(track.leg) };
        drawn = Some(track.leg);
        let painter = Painter { diagnosis, style, leg: track.leg };
        let (words, ended) = painter.words(track);
        write_track(out, style, label, head, column, &words)?;
        if ended {
            over = Some(track.leg);
        }
    }
    tail(out, diagnosis, drawn, over, style)
}

/// Whether this line begins at another host than the line before it ended.
fn crosses(_: &[Track], _: &Track) -> bool {
    false
}

fn head(diagnosis: &Diagnosis, side: Side) -> String {
    let facts = match side {
        Side::Local => Some(&diagnosis.sides.local),
        Side::Peer => diagnosis.sides.peer.as_ref(),
    };
    let interface = facts.map(|facts| facts.interface.as_str()).unwrap_or_default();
    format!("{} {interface}", diagnosis.name(side)).trim_end().to_owned()
}

/// The lines of the drawing in path order.
fn tracks(diagnosis: &Diagnosis) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    for hop in &diagnosis.hops {
        let (leg, host) = (hop.leg, hop.checkpoint.host);
        if tracks.last().is_none_or(|track| track.leg != leg || track.host != host) {
            tracks.push(Track { leg, host, cells: Vec::new() });
        }
        if let Some(track) = tracks.last_mut() {
            add(&mut track.cells, hop);
        }
    }
    tracks
}

fn add(cells: &mut Vec<Cell>, hop: &HopState) {
    let at = hop.checkpoint;
    let name = short(at.station);
    let blind = hop.state == State::Blind;
    if let Some(cell) = cells.last_mut().filter(|cell| cell.name == name) {
        cell.last = at;
        cell.passed = hop.passed;
        cell.blind &= blind;
        return;
    }
    // A hop that probes may pass by, and did, only makes the line longer.
    let optional = matches!(at.station, Station::Hop(Hop::SocketIn | Hop::IcmpIn | Hop::CgroupOut));
    if optional && hop.packets.unwrap_or(0) == 0 {
        return;
    }
    cells.push(Cell { name, first: at, last: at, passed: hop.passed, blind });
}

fn short(station: Station) -> &'static str {
    let Station::Hop(hop) = station else { return station.name() };
    match hop {
        Hop::NfOutputFirst | Hop::NfOutputLast => "output",
        Hop::NfPostroutingFirst | Hop::NfPostroutingLast => "postrouting",
        Hop::CgroupOut => "cgroup",
        Hop::TcOut | Hop::TcIn => "tc",
        Hop::DevQueue => "queue",
        Hop::Xmit => "xmit",
        Hop::XdpIn => "xdp",
        Hop::NetifIn => "netif",
        Hop::NfPreroutingFirst | Hop::NfPreroutingLast => "prerouting",
        Hop::NfInputFirst | Hop::NfInputLast => "input",
        Hop::NfForwardFirst | Hop::NfForwardLast => "forward",
        Hop::IcmpIn => "icmp",
        Hop::SocketIn => "socket",
    }
}

struct Painter<'a> {
    diagnosis: &'a Diagnosis,
    style: &'a Style,
    leg: Leg,
}

/// A word of the drawing, and its paint.
struct Word {
    text: String,
    tone: Option<Tone>,
}

impl Painter<'_> {
    /// The line's words, arrows included, and whether nothing comes out at its end.
    fn words(&self, track: &Track) -> (Vec<Word>, bool) {
        let arrow = self.style.either("▸", ">");
        let mut words = Vec::new();
        for (index, cell) in track.cells.iter().enumerate() {
            let before = self.stopped_before(cell);
            if index > 0 && before == 0 {
                words.push(Word { text: arrow.to_owned(), tone: Some(Tone::Dim) });
            }
            if before > 0 && index > 0 {
                words.push(self.cross(before, if cell.passed > 0 { arrow } else { "" }));
            }
            let inside = self.stopped_inside(cell);
            words.push(self.cell(cell, inside));
            if cell.passed == 0 && (inside > 0 || before > 0) {
                return (words, true);
            }
        }
        let all_stopped = track.cells.last().is_some_and(|cell| cell.passed == 0);
        (words, all_stopped)
    }

    fn cross(&self, packets: usize, arrow: &str) -> Word {
        let cross = self.style.either("✗", "x");
        Word { text: format!("{cross}{packets}{arrow}"), tone: Some(Tone::Bad) }
    }

    fn cell(&self, cell: &Cell, inside: usize) -> Word {
        let name = cell.name;
        match (inside, cell.blind, cell.passed) {
            (0, true, _) => Word { text: format!("{name} ?"), tone: Some(Tone::Warn) },
            (0, false, passed) => Word { text: format!("{name} {passed}"), tone: None },
            (lost, _, 0) => {
                Word { text: format!("{name} {}{lost}", self.style.either("✗", "x")), tone: Some(Tone::Bad) }
            }
            (lost, _, passed) => Word {
                text: format!("{name} {}{lost} {}{passed}", self.style.either("✗", "x"), self.style.either("▸", ">")),
                tone: Some(Tone::Bad),
            },
        }
    }

    fn stops(&self) -> impl Iterator<Item = &Stop> {
        self.diagnosis.stops.iter()
    }

    /// Packets that entered the first hop of the cell and did not leave its last.
    fn stopped_inside(&self, cell: &Cell) -> usize {
        let inside = |stop: &&Stop| {
            stop.leg == self.leg
                && stop.last_seen == cell.first
                && stop.first_missing == cell.last
                && cell.first != cell.last
        };
        self.stops().filter(inside).map(|stop| stop.packets).sum()
    }

    /// Packets that are first missed here.
    fn stopped_before(&self, cell: &Cell) -> usize {
        let here = |stop: &&Stop| {
            self.missing_leg(stop) == self.leg
                && (stop.first_missing == cell.first
                    || (stop.first_missing == cell.last && stop.last_seen != cell.first))
        };
        self.stops().filter(here).map(|stop| stop.packets).sum()
    }

    /// The leg of the hop that first missed them; a host's ways in and out have no hop in common, but both legs do.
    fn missing_leg(&self, stop: &Stop) -> Leg {
        let states = self.diagnosis.hops.iter().filter(|hop| hop.checkpoint == stop.first_missing);
        let legs: Vec<Leg> = states.map(|hop| hop.leg).collect();
        match legs.as_slice() {
            [only] => *only,
            _ => stop.leg,
        }
    }
}

fn write_track(
    out: &mut dyn Write,
    style: &Style,
    label: &str,
    head: &str,
    column: usize,
    words: &[Word],
) -> io::Result<()> {
    let width = style.width.clamp(40, 120);
    let start = LABEL + column;
    let label = style.paint(Tone::Dim, &format!("  {label:<width$}", width = LABEL - 2));
    let mut line = format!("{label}{}{}", style.paint(Tone::Strong, head), " ".repeat(column - head.chars().count()));
    let mut used = start;
    for (index, word) in words.iter().enumerate() {
        let length = word.text.chars().count();
        if index > 0 && used > start && used + 1 + length > width {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(start);
            used = start;
        }
        if used > start {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word.tone.map_or_else(|| word.text.clone(), |tone| style.paint(tone, &word.text)));
        used += length;
    }
    writeln!(out, "{}", line.trim_end())
}

/// The stretch between two hosts, where something is to be said of it.
fn network(out: &mut dyn Write, diagnosis: &Diagnosis, to: &Track, column: usize, style: &Style) -> io::Result<()> {
    let lost: usize = diagnosis
        .stops
        .iter()
        .filter(|stop| stop.leg == to.leg && stop.host == Host::Network)
        .map(|stop| stop.packets)
        .sum();
    let line = style.either("──", "--");
    let text = if lost == 0 {
        style.paint(Tone::Dim, &format!("{line} network {line}"))
    } else {
        let cross = style.either("✗", "x");
        format!(
            "{} {}",
            style.paint(Tone::Dim, &format!("{line} network")),
            style.paint(Tone::Bad, &format!("{cross}{lost}"))
        )
    };
    writeln!(out, "{}{text}", " ".repeat(LABEL + column))
}

/// What there is to say where a leg was not drawn.
fn tail(
    out: &mut dyn Write,
    diagnosis: &Diagnosis,
    drawn: Option<Leg>,
    over: Option<Leg>,
    style: &Style,
) -> io::Result<()> {
    let replies = diagnosis.hops.iter().any(|hop| hop.leg == Leg::Reply);
    let two_ended = diagnosis.sides.peer.is_some() || !diagnosis.stops.iter().any(|stop| stop.host == Host::Beyond);
    let requests = diagnosis.hops.iter().any(|hop| hop.leg == Leg::Request);
    if drawn == Some(Leg::Request) && over.is_some() && replies && requests {
        let text = if two_ended { "none was made" } else { "none came back" };
        let label = style.paint(Tone::Dim, &format!("  {:<width$}", "reply", width = LABEL - 2));
        writeln!(out, "{label}{text}")?;
    }
    Ok(())
}

//! The path as a drawing: for each leg and host a line of hops with how many probes passed, and where they stop.

use probe_ebpf::Echo;
use std::io::{self, Write};

use probe_ebpf::Hop;

use super::LABEL;
use crate::{
    diagnosis::{
        Diagnosis,
        document::{CarriedStretch, HopState, HopStatus, Stop, StopHost},
        path::{Checkpoint, Side, Station},
        places::host_of,
    },
    report::style::{Style, Tone},
};

/// Returns a leg's word.
pub(super) fn leg_name(leg: Echo) -> &'static str {
    match leg {
        Echo::Request => "request",
        Echo::Reply => "reply",
    }
}

/// A hop of the drawing: one hop, or the first and the last of a netfilter hook.
struct Cell {
    name: String,
    first: Checkpoint,
    last: Checkpoint,
    /// Passed its last hop.
    passed: usize,
    blind: bool,
}

/// One line of the drawing.
struct Track {
    leg: Echo,
    host: Side,
    cells: Vec<Cell>,
    /// Whether every probe that came to its end stopped there.
    drained: bool,
}

/// Draws both legs.
pub(super) fn draw(out: &mut dyn Write, diagnosis: &Diagnosis, style: &Style) -> io::Result<()> {
    let tracks = tracks(diagnosis);
    let last = lines(out, diagnosis, style, widest(diagnosis) + 2)?;
    tail(out, diagnosis, last.map(|last| &tracks[last]), style)
}

/// Returns how wide the widest name of a line is, with what carries it, layer by layer.
fn widest(diagnosis: &Diagnosis) -> usize {
    let own = heads(diagnosis, &tracks(diagnosis)).into_iter().map(|head| head.chars().count());
    own.chain(diagnosis.carried.iter().map(|stretch| widest(&stretch.path))).max().unwrap_or(0)
}

fn heads(diagnosis: &Diagnosis, tracks: &[Track]) -> Vec<String> {
    tracks.iter().map(|track| head(diagnosis, track.host)).collect()
}

/// Draws every line down to where no packet goes on, and returns the number of the last.
fn lines(out: &mut dyn Write, diagnosis: &Diagnosis, style: &Style, column: usize) -> io::Result<Option<usize>> {
    let tracks = tracks(diagnosis);
    let mut last: Option<usize> = None;
    for (index, (track, head)) in tracks.iter().zip(heads(diagnosis, &tracks)).enumerate() {
        let painter = Painter { diagnosis, style, track };
        let before = last.map(|last| &tracks[last]);
        if let Some(before) = before {
            painter.between(out, before, column)?;
            if track.starts_empty() && painter.lost_between(before) > 0 {
                // Nothing came here, and the line above says where it went.
                break;
            }
        }
        let label = if before.is_some_and(|before| before.leg == track.leg) { "" } else { leg_name(track.leg) };
        let label = match &diagnosis.carried_by {
            Some(kind) if before.is_none() => kind,
            Some(_) if before.is_some_and(|before| before.leg == track.leg) => "",
            Some(_) => label,
            None => label,
        };
        let (words, crosses) = painter.words();
        write_track(out, style, label, &head, column, &words)?;
        last = Some(index);
        if crosses > 0 && track.ends_empty() {
            break;
        }
    }
    Ok(last)
}

impl Track {
    fn starts_empty(&self) -> bool {
        self.cells.first().is_none_or(|cell| cell.passed == 0)
    }

    fn ends_empty(&self) -> bool {
        self.cells.last().is_none_or(|cell| cell.passed == 0) || self.drained
    }

    fn has(&self, leg: Echo, at: Checkpoint) -> bool {
        self.leg == leg && self.host == at.host
    }
}

fn head(diagnosis: &Diagnosis, side: Side) -> String {
    let facts = match side {
        Side::Via(_) => None,
        Side::Local => Some(&diagnosis.sides.local),
        Side::Peer => diagnosis.sides.peer.as_ref(),
    };
    let interface = facts.map(|facts| facts.interface.as_str()).unwrap_or_default();
    let name = diagnosis.name(side);
    // For the packets of a tunnel an end can be a place in between, which has its name from the sentences.
    let name = name.strip_prefix("network namespace ").filter(|_| diagnosis.carried_by.is_some()).unwrap_or(&name);
    format!("{name} {interface}").trim_end().to_owned()
}

/// Returns the lines of the drawing in path order.
fn tracks(diagnosis: &Diagnosis) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    for hop in diagnosis.hops.iter().filter(|hop| !stands_elsewhere(diagnosis, hop)) {
        let (leg, host) = (hop.leg, hop.checkpoint.host);
        if tracks.last().is_none_or(|track| track.leg != leg || track.host != host) {
            tracks.push(Track { leg, host, cells: Vec::new(), drained: false });
        }
        if let Some(track) = tracks.last_mut() {
            add(&mut track.cells, hop);
        }
    }
    for track in &mut tracks {
        let left = track.cells.last().map_or(0, |cell| cell.passed);
        let own = diagnosis.stops.iter().filter(|stop| stop.carried.is_none());
        let ends = own.filter(|stop| ends_on(stop, track)).map(|stop| stop.packets);
        track.drained = left > 0 && ends.sum::<usize>() >= left;
    }
    tracks
}

/// Reports whether it is a hop of a device that is watched at the tunnel, and not at what carries it.
fn stands_elsewhere(diagnosis: &Diagnosis, hop: &HopState) -> bool {
    let of_device = [Hop::XdpIn, Hop::TcIn, Hop::TcOut, Hop::CgroupOut].map(Station::Hop);
    diagnosis.carried_by.is_some() && hop.state == HopStatus::Blind && of_device.contains(&hop.checkpoint.station)
}

/// Reports whether the packets of `stop` die on this host behind the last hop of `track`, before any other line begins.
fn ends_on(stop: &Stop, track: &Track) -> bool {
    let whose = host_of(track.host);
    let seen = track.has(stop.seen_leg, stop.last_seen) && !track.has(stop.missing_leg, stop.first_missing);
    seen && stop.whose == whose && stop.leg == track.leg
}

fn add(cells: &mut Vec<Cell>, hop: &HopState) {
    let at = hop.checkpoint;
    let name = hop_name(hop);
    let blind = hop.state == HopStatus::Blind;
    if let Some(cell) = cells.last_mut().filter(|cell| cell.name == name) {
        cell.last = at;
        cell.passed = hop.passed;
        cell.blind &= blind;
        return;
    }
    // A hop that probes bypassed only makes the line longer; nothing is drawn as seen that a hop did not see.
    let optional = matches!(at.station, Station::Hop(Hop::SocketIn | Hop::IcmpIn | Hop::CgroupOut));
    let bypassed = hop.state == HopStatus::Missing && hop.passed > 0;
    if (optional || bypassed) && hop.packets.unwrap_or(0) == 0 {
        return;
    }
    cells.push(Cell { name, first: at, last: at, passed: hop.passed, blind });
}

/// The word for leaving a place by whichever interface.
const OUT: &str = "out";

/// Returns a hop's word, with the interface where a place has several.
fn hop_name(hop: &HopState) -> String {
    let word = short(hop.checkpoint.station);
    match (&hop.interface, hop.checkpoint.station) {
        (Some(interface), _) => format!("{interface} {word}"),
        (None, Station::Port(Hop::NetifIn, _)) => "in".to_owned(),
        (None, Station::Port(Hop::DevQueue, _)) => OUT.to_owned(),
        (None, _) => word.to_owned(),
    }
}

/// Returns a hop's word in the drawing: the first and the last of a netfilter hook have one.
pub(super) fn short(station: Station) -> &'static str {
    let (Station::Hop(hop) | Station::Port(hop, _)) = station else { return station.name() };
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
    track: &'a Track,
}

/// A word of the drawing, what leads to it, and its paint.
struct Word {
    lead: &'static str,
    text: String,
    tone: Option<Tone>,
}

impl Word {
    fn plain(text: String) -> Self {
        Self { lead: "", text, tone: None }
    }

    fn length(&self) -> usize {
        let lead = self.lead.chars().count();
        self.text.chars().count() + lead + usize::from(lead > 0)
    }

    fn painted(&self, style: &Style) -> String {
        let text = self.tone.map_or_else(|| self.text.clone(), |tone| style.paint(tone, &self.text));
        if self.lead.is_empty() { text } else { format!("{} {text}", style.paint(Tone::Dim, self.lead)) }
    }
}

impl Painter<'_> {
    /// Returns the line's words, and how many packets stop on it.
    fn words(&self) -> (Vec<Word>, usize) {
        let arrow = if self.style.unicode { "▸" } else { ">" };
        let (mut words, mut crosses): (Vec<Word>, usize) = (Vec::new(), 0);
        for cell in &self.track.cells {
            let (before, inside) = (self.stopped_before(cell), self.stopped_inside(cell));
            if before > 0 {
                words.push(self.cross(before));
            }
            if before > 0 && cell.passed == 0 && cell.name == OUT {
                return (words, crosses + before);
            }
            let lead = if words.is_empty() || (before > 0 && cell.passed == 0) { "" } else { arrow };
            words.push(Word { lead, ..self.cell(cell, inside) });
            crosses += before + inside;
            if cell.passed == 0 && crosses > 0 {
                return (words, crosses);
            }
        }
        let ends = self.stops().filter(|stop| ends_on(stop, self.track)).map(|stop| stop.packets).sum();
        if ends > 0 {
            words.push(self.cross(ends));
        }
        (words, crosses + ends)
    }

    fn mark(&self) -> &'static str {
        if self.style.unicode { "✗" } else { "x" }
    }

    fn cross(&self, packets: usize) -> Word {
        Word { tone: Some(Tone::Bad), ..Word::plain(format!("{}{packets}", self.mark())) }
    }

    fn cell(&self, cell: &Cell, inside: usize) -> Word {
        let (name, mark) = (&cell.name, self.mark());
        match (inside, cell.blind, cell.passed) {
            (0, true, _) => Word { tone: Some(Tone::Warn), ..Word::plain(format!("{name} ?")) },
            (0, false, passed) => Word::plain(format!("{name} {passed}")),
            (lost, _, 0) => Word { tone: Some(Tone::Bad), ..Word::plain(format!("{name} {mark}{lost}")) },
            (lost, _, passed) => Word { tone: Some(Tone::Bad), ..Word::plain(format!("{name} {mark}{lost} {passed}")) },
        }
    }

    /// Returns the stops of these lines; those inside the packets of a tunnel are on lines of their own.
    fn stops(&self) -> impl Iterator<Item = &Stop> {
        self.diagnosis.stops.iter().filter(|stop| stop.carried.is_none())
    }

    /// Counts packets that entered the first hop of the cell and did not leave its last.
    fn stopped_inside(&self, cell: &Cell) -> usize {
        let pair = |stop: &&Stop| stop.last_seen == cell.first && stop.first_missing == cell.last;
        let here = |stop: &&Stop| self.track.leg == stop.missing_leg && cell.first != cell.last && pair(stop);
        self.stops().filter(here).map(|stop| stop.packets).sum()
    }

    /// Counts packets that are first missed here, and are not drawn on another line.
    fn stopped_before(&self, cell: &Cell) -> usize {
        let first = |stop: &Stop| stop.first_missing == cell.first || stop.first_missing == cell.last;
        let inside = |stop: &Stop| stop.last_seen == cell.first && cell.first != cell.last;
        let came_in = |stop: &Stop| {
            self.track.has(stop.seen_leg, stop.last_seen)
                || (stop.whose == host_of(self.track.host) && stop.leg == self.track.leg)
        };
        let here = |stop: &&Stop| stop.missing_leg == self.track.leg && first(stop) && !inside(stop) && came_in(stop);
        self.stops().filter(here).map(|stop| stop.packets).sum()
    }

    /// Counts packets that were last seen on an earlier line, are first missed on this or a later one, and died on no
    /// host.
    fn lost_between(&self, before: &Track) -> usize {
        let lost = |stop: &&Stop| {
            let nowhere = matches!(stop.host, StopHost::Network | StopHost::Beyond) || stop.carried.is_some();
            nowhere && stop.seen_leg == before.leg && before.host == stop.last_seen.host
        };
        self.diagnosis.stops.iter().filter(lost).map(|stop| stop.packets).sum()
    }

    /// Reports whether both lines are of one leg and of namespaces of one kernel, so that nothing is between them.
    fn on_one_kernel(&self, before: &Track) -> bool {
        let between = [before.host, self.track.host].iter().any(|side| matches!(side, Side::Via(_)));
        let kernel =
            |side: Side| self.diagnosis.places.iter().find(|place| place.side == side).map(|it| it.entered_from);
        between && kernel(before.host) == kernel(self.track.host) && before.leg == self.track.leg
    }

    /// Draws the stretch between two hosts, and what is lost there.
    fn between(&self, out: &mut dyn Write, before: &Track, column: usize) -> io::Result<()> {
        let carries = |stretch: &&CarriedStretch| stretch.leg == before.leg && stretch.before == before.host;
        if let Some(stretch) = self.diagnosis.carried.iter().find(carries) {
            return lines(out, &stretch.path, self.style, column).map(drop);
        }
        let beyond = self.diagnosis.sides.peer.is_none() && before.leg != self.track.leg;
        let lost = self.lost_between(before);
        if lost == 0 && (before.host == self.track.host || self.on_one_kernel(before)) {
            return Ok(());
        }
        let (line, name) = (self.style.either("──", "--"), if beyond { "beyond" } else { "network" });
        let text = if lost == 0 {
            self.style.paint(Tone::Dim, &format!("{line} {name} {line}"))
        } else {
            let lead = self.style.paint(Tone::Dim, &format!("{line} {name}"));
            format!("{lead} {}", self.style.paint(Tone::Bad, &format!("{}{lost}", self.mark())))
        };
        writeln!(out, "{}{text}", " ".repeat(LABEL + column))
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
    for word in words {
        let length = word.length();
        if used > start && used + 1 + length > width {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(start);
            used = start;
        }
        if used > start {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word.painted(style));
        used += length;
    }
    writeln!(out, "{}", line.trim_end())
}

/// Writes what there is to say if the reply's leg was not drawn.
fn tail(out: &mut dyn Write, diagnosis: &Diagnosis, last: Option<&Track>, style: &Style) -> io::Result<()> {
    let both = [Echo::Request, Echo::Reply].iter().all(|leg| diagnosis.hops.iter().any(|hop| hop.leg == *leg));
    if last.is_none_or(|track| track.leg == Echo::Reply) || !both {
        return Ok(());
    }
    let beyond = diagnosis.stops.iter().any(|stop| stop.host == StopHost::Beyond);
    if diagnosis.stops.iter().any(|stop| stop.carried.is_some() && stop.leg == Echo::Reply) {
        return Ok(());
    }
    let label = style.paint(Tone::Dim, &format!("  {:<width$}", "reply", width = LABEL - 2));
    writeln!(out, "{label}{}", if beyond { "none came back" } else { "none was made" })
}

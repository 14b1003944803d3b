//! `probe.diagnosis/1` for people: the answer first, then the path with its counts, the cause, the proof, what to try.

mod drawing;
mod followed;
mod proof;

use std::io::{self, Write};

use probe_ebpf::Hop;

use super::{
    Document,
    style::{Style, Tone},
    table::time,
};
use crate::diagnosis::{
    Diagnosis,
    document::{Alteration, BlindHop, BlindSpot, Confidence, Outcome, RoundTrips, SideCosts, Stop, StopHost, Value},
    path::{Side, Station},
};
use crate::model::trace::{NeighbourHop, NeighbourKind};

/// Columns before what a line says.
const LABEL: usize = 12;

impl Document for Diagnosis {
    const SCHEMA: &'static str = "probe.diagnosis/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let text = Text { diagnosis: self, style };
        text.sentence(out)?;
        if self.followed.is_some() && self.sent == 0 {
            return text.followed(out);
        }
        writeln!(out)?;
        drawing::draw(out, self, style)?;
        text.neighbour(out)?;
        writeln!(out)?;
        for (index, stop) in self.stops.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            text.stop(out, stop)?;
        }
        if let Some(sender) = &self.sent_as {
            text.line(out, "as", &sender.text())?;
        }
        text.followed(out)?;
        text.alterations(out)?;
        for note in &self.notes {
            text.line(out, "note", note)?;
        }
        text.latency(out)?;
        text.blind(out)?;
        text.losses(out)?;
        text.costs(out)?;
        for (index, stop) in self.stops.iter().enumerate() {
            if !self.stops[..index].iter().any(|other| other.commands == stop.commands) {
                text.attempt(out, stop)?;
            }
        }
        Ok(())
    }
}

struct Text<'a> {
    diagnosis: &'a Diagnosis,
    style: &'a Style,
}

impl Text<'_> {
    fn sentence(&self, out: &mut dyn Write) -> io::Result<()> {
        let verdict = &self.diagnosis.verdict;
        let (mark, tone) = match verdict.outcome {
            Outcome::Delivered => (self.style.either("✓", "[ok]"), Tone::Good),
            Outcome::Altered => (self.style.either("≠", "[!=]"), Tone::Warn),
            Outcome::Inconclusive => (self.style.either("?", "[?]"), Tone::Warn),
            Outcome::Stopped | Outcome::Lossy => (self.style.either("✗", "[!!]"), Tone::Bad),
        };
        let indent = mark.chars().count() + 1;
        for (index, line) in wrapped(&verdict.sentence, self.room(indent)).iter().enumerate() {
            let mark = if index == 0 { format!("{} ", self.style.paint(tone, mark)) } else { " ".repeat(indent) };
            writeln!(out, "{mark}{}", self.style.paint(Tone::Strong, line))?;
        }
        Ok(())
    }

    fn room(&self, indent: usize) -> usize {
        self.style.width.clamp(40, 120) - indent
    }

    /// Writes a labelled line, wrapped under itself.
    fn line(&self, out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
        for (index, line) in wrapped(text, self.room(LABEL)).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            writeln!(out, "{}{line}", self.label(label))?;
        }
        Ok(())
    }

    fn label(&self, label: &str) -> String {
        self.style.paint(Tone::Dim, &format!("  {label:<width$}", width = LABEL - 2))
    }

    fn stop(&self, out: &mut dyn Write, stop: &Stop) -> io::Result<()> {
        if self.diagnosis.stops.len() > 1 {
            let leg = drawing::leg_name(stop.leg);
            let head = format!("{} of {} on the {leg} leg", stop.packets, self.diagnosis.sent);
            self.line(out, "stop", &head)?;
        }
        self.line(out, "cause", &proof::cause(stop))?;
        if !stop.meaning.is_empty() {
            self.line(out, "", &stop.meaning)?;
        }
        self.line(out, "proof", &proof::proof(stop, self.diagnosis))?;
        if stop.confidence != Confidence::Certain {
            self.line(out, "sure", &proof::doubt(stop, self.diagnosis))?;
        }
        Ok(())
    }

    /// Writes the questions and answers of a search for a neighbour, where that is what fails.
    fn neighbour(&self, out: &mut dyn Write) -> io::Result<()> {
        let said = self.diagnosis.stops.iter().find_map(|stop| stop.cause.neighbour.as_ref());
        let Some(said) = said.filter(|said| !said.steps.is_empty()) else { return Ok(()) };
        let (arrow, cross) = (self.style.either("▸", ">"), self.style.either("✗", "x"));
        let mut place = "";
        let steps = said.steps.iter().map(|step| {
            let (at, count) = (step.interface.as_deref().unwrap_or("?"), step.packets);
            let what = match (step.kind, step.hop) {
                (NeighbourKind::Asks, NeighbourHop::Out) => format!("{at} asks {count}"),
                (NeighbourKind::Asks, NeighbourHop::In) => format!("{at} hears {count}"),
                (NeighbourKind::Asks, NeighbourHop::Dropped) => format!("{at} {cross}{count}"),
                (NeighbourKind::Answers, NeighbourHop::Out) => format!("{at} answers {count}"),
                (NeighbourKind::Answers, NeighbourHop::In) => format!("{at} hears answer {count}"),
                (NeighbourKind::Answers, NeighbourHop::Dropped) => format!("{at} answer {cross}{count}"),
            };
            let same = std::mem::replace(&mut place, &step.place) == step.place;
            if same { what } else { format!("{} {what}", step.place) }
        });
        let steps: Vec<String> = steps.collect();
        self.line(out, "neighbour", &format!("{}: {}", said.address, steps.join(&format!(" {arrow} "))))
    }

    fn alterations(&self, out: &mut dyn Write) -> io::Result<()> {
        for change in &self.diagnosis.alterations {
            let Alteration { leg, field, sent, seen, seen_at, place, by, packets } = change;
            let by = by.as_ref().map(|rule| format!(", by the rule \"{rule}\"")).unwrap_or_default();
            let plain = |it: Value| match it {
                Value::Id(_) if *field == "ttl" => it.to_string(),
                other => value(other),
            };
            let (sent, seen) = (plain(*sent), plain(*seen));
            let whom = self.diagnosis.name(seen_at.host);
            let leg = drawing::leg_name(*leg);
            if let Some(place) = place {
                let text = format!("{field} {sent} became {seen} on the {leg} leg, {place}{by}: {packets} packets");
                self.line(out, "changed", &text)?;
                continue;
            }
            let text = format!(
                "{field} {sent} became {seen} on the {leg} leg: {packets} seen at {whom}'s {}",
                seen_at.station.name()
            );
            self.line(out, "changed", &text)?;
        }
        Ok(())
    }

    fn latency(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(RoundTrips { min, p50, p90, p99, max }) = self.diagnosis.rtt_ns else { return Ok(()) };
        let all = [("min", min), ("p50", p50), ("p90", p90), ("p99", p99), ("max", max)];
        let dot = self.style.either(" · ", ", ");
        let words = all.map(|(name, value)| format!("{name} {}", time(value))).join(dot);
        self.line(out, "latency", &words)?;
        let stages = &self.diagnosis.stages;
        if !stages.is_empty() {
            let words: Vec<_> = stages.iter().map(|stage| format!("{} {}", stage.stage, time(stage.p50_ns))).collect();
            self.line(out, "of which", &format!("{} (medians)", words.join(dot)))?;
        }
        Ok(())
    }

    /// Reports whether a blind hop bears on the verdict. A packet need not pass a cgroup or a socket's queue, so those
    /// two matter only where packets are missing.
    fn matters(&self, blind: &BlindHop) -> bool {
        let optional = matches!(Station::named(blind.hop), Some(Station::Hop(Hop::CgroupOut | Hop::SocketIn)));
        let in_doubt = || {
            let named = |spot: &BlindSpot| spot.checkpoint.station.name() == blind.hop;
            self.diagnosis.verdict.confidence == Confidence::Unknown
                || self.diagnosis.stops.iter().any(|stop| stop.blind.iter().any(named))
        };
        !optional || self.style.verbose || in_doubt()
    }

    /// Writes what was blind on the whole path, since the reader must know what the counts rest on.
    fn blind(&self, out: &mut dyn Write) -> io::Result<()> {
        let sides =
            [(Side::Local, Some(&self.diagnosis.sides.local)), (Side::Peer, self.diagnosis.sides.peer.as_ref())];
        let mut texts = Vec::new();
        for (side, facts) in sides.into_iter().filter_map(|(side, facts)| Some((side, facts?))) {
            let mut whys: Vec<(&str, Vec<&str>)> = Vec::new();
            for hop in facts.blind.iter().filter(|hop| self.matters(hop)) {
                let name = Station::named(hop.hop).map_or(hop.hop, drawing::short);
                match whys.iter_mut().find(|(why, _)| *why == hop.why) {
                    Some((_, hops)) if hops.contains(&name) => {}
                    Some((_, hops)) => hops.push(name),
                    None => whys.push((&hop.why, vec![name])),
                }
            }
            let name = self.diagnosis.name(side);
            texts.extend(whys.iter().map(|(why, hops)| format!("{name}: {} ({why})", hops.join(", "))));
        }
        for via in &self.diagnosis.vias {
            let name = via.place.as_deref().unwrap_or(&via.hostname);
            texts.extend(via.blind.iter().map(|hop| format!("{name}: {} ({})", hop.hop, hop.why)));
        }
        let beyond = |stop: &&Stop| self.diagnosis.sides.peer.is_none() && stop.host == StopHost::Beyond;
        if let Some(stop) = self.diagnosis.stops.iter().find(beyond) {
            let last = match stop.last_seen.host {
                via @ Side::Via(_) => self.diagnosis.name(via),
                Side::Local | Side::Peer => "this host".to_owned(),
            };
            texts.push(format!("everything beyond {last}: nobody watched there"));
        }
        let vias_see = self.diagnosis.vias.iter().all(|via| via.blind.is_empty());
        texts.extend(self.blind_hooks());
        let all_see = vias_see
            && self.blind_hooks().is_empty()
            && sides.into_iter().filter_map(|(_, facts)| facts).all(|facts| facts.blind.is_empty());
        if texts.is_empty() && all_see {
            return self.line(out, "blind", "nothing on this path");
        }
        texts
            .iter()
            .enumerate()
            .try_for_each(|(index, text)| self.line(out, if index == 0 { "blind" } else { "" }, text))
    }

    /// Returns the hooks of netfilter in places in between that could not be watched.
    fn blind_hooks(&self) -> Vec<String> {
        let mut whys: Vec<(Side, &str, Vec<&str>)> = Vec::new();
        for hop in self.diagnosis.hops.iter().filter(|hop| matches!(hop.checkpoint.host, Side::Via(_))) {
            let (Some(why), Station::Port(at, _)) = (hop.why.as_deref(), hop.checkpoint.station) else { continue };
            let (side, name) = (hop.checkpoint.host, drawing::short(hop.checkpoint.station));
            if at == Hop::NetifIn {
                continue;
            }
            match whys.iter_mut().find(|(of, because, _)| (*of, *because) == (side, why)) {
                Some((.., hops)) if hops.contains(&name) => {}
                Some((.., hops)) => hops.push(name),
                None => whys.push((side, why, vec![name])),
            }
        }
        let text = |(side, why, hops): (Side, &str, Vec<&str>)| {
            format!("{}: {} ({why})", self.diagnosis.name(side), hops.join(", "))
        };
        whys.into_iter().map(text).collect()
    }

    fn losses(&self, out: &mut dyn Write) -> io::Result<()> {
        let costs = &self.diagnosis.accounting;
        if costs.events_lost > 0 {
            let text =
                format!("{} drop events were lost: counters are complete, reasons may not be", costs.events_lost);
            self.line(out, "lost", &text)?;
        }
        if costs.maps_full > 0 {
            let text = "a map was full: hops of that host that saw nothing count as blind";
            self.line(out, "lost", text)?;
        }
        Ok(())
    }

    /// Writes what watching cost on each host, for those who want to know more.
    fn costs(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.style.verbose {
            return Ok(());
        }
        let costs = &self.diagnosis.accounting;
        let sides = [(Side::Local, Some(costs.local)), (Side::Peer, costs.peer)];
        let mut label = "cost";
        for (side, cost) in sides.into_iter().filter_map(|(side, cost)| Some((side, cost?))) {
            let SideCosts { events_lost, maps_full, attach_ms, bpf_ns_per_packet } = cost;
            let measured = if bpf_ns_per_packet == 0 {
                "the time that its programs take per packet was not measured".to_owned()
            } else {
                format!("its programs take {} per packet", time(bpf_ns_per_packet))
            };
            let name = self.diagnosis.name(side);
            let text = format!(
                "{name}: attached in {attach_ms} ms; {measured}; {events_lost} drop events lost, {maps_full} maps full"
            );
            self.line(out, std::mem::take(&mut label), &text)?;
        }
        Ok(())
    }

    /// Writes what to type, each command on a line of its own and never broken, so that it can be pasted.
    fn attempt(&self, out: &mut dyn Write, stop: &Stop) -> io::Result<()> {
        for (index, command) in stop.commands.iter().enumerate() {
            let label = self.label(if index == 0 { "try" } else { "" });
            let on = command.on.map_or_else(String::new, |side| format!("on {}:", self.diagnosis.name(side)));
            let before = index.checked_sub(1).and_then(|before| stop.commands.get(before));
            let same = before.is_some_and(|before| before.on == command.on);
            let on = if same { " ".repeat(on.chars().count()) } else { on };
            writeln!(out, "{label}{on}  {}", self.style.paint(Tone::Strong, &command.command))?;
        }
        Ok(())
    }
}

impl Diagnosis {
    /// Returns what people call a host; two hosts with the same name are told apart by their place.
    pub(super) fn name(&self, side: Side) -> String {
        if let Some(place) = self.places.iter().find(|place| place.side == side && matches!(side, Side::Via(_))) {
            return place.name.clone();
        }
        if let Some(name) = self.vias.iter().find(|via| via.side == Some(side)).and_then(|via| via.place.clone()) {
            return name;
        }
        let here = &self.sides.local.hostname;
        let there = self.sides.peer.as_ref().map(|peer| &peer.hostname);
        let clash = here.is_empty() || there.is_some_and(|there| there.is_empty() || there == here);
        match (side, clash) {
            (Side::Local | Side::Via(_), true) => "this host".to_owned(),
            (Side::Peer, true) => "the peer".to_owned(),
            (Side::Local | Side::Via(_), false) => here.clone(),
            (Side::Peer, false) => there.unwrap_or(&self.target.name).clone(),
        }
    }
}

fn value(value: Value) -> String {
    match value {
        Value::Id(id) => format!("{id} ({id:#x})"),
        Value::Address(_) => value.to_string(),
    }
}

/// Returns `text` in lines of at most `width` columns, broken at spaces only.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

//! Experiment files: TOML, where every error names its line.

mod error;
mod raw;

use std::{collections::BTreeMap, time::Duration};

use toml::Spanned;

pub use self::error::ScriptError;
use self::raw::{RawId, RawScript, RawStep};
use super::script::{OutcomeMeaning, Script, ScriptPacket, ScriptStep, Sends};
use crate::{
    middlebox::timeline::MAX_PACKETS,
    model::toml_fault::{Faulty, TomlFault},
};
use probe_ebpf::journey::MARK_BYTES;

/// The most repetitions.
const MAX_REPEAT: u16 = 20;

/// The least time between two packets of a step, in seconds.
const LEAST_INTERVAL: f64 = 0.001;

/// The longest wait, in seconds.
const LONGEST_WAIT: f64 = 3600.0;

/// The most payload that an IPv4 packet holds.
const MAX_SIZE: u16 = 65_507;

impl Script {
    /// Parses an experiment from the text of a file; `name` is what errors call the file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        let raw: RawScript = toml::from_str(text).map_err(|error| TomlFault::from_toml(name, text, &error))?;
        Ok(check(&raw).map_err(|faulty| faulty.in_file(name, text))?)
    }
}

fn check(raw: &RawScript) -> Result<Script, Faulty> {
    let fixed = raw.id.iter().map(|(name, id)| Ok((name.clone(), number(id)?))).collect::<Result<_, Faulty>>()?;
    let mut steps: Vec<ScriptStep> = Vec::new();
    for step in &raw.step {
        let made = make(step, &steps)?;
        steps.push(made);
    }
    let repeat = raw.repeat.as_ref().map_or(3, |repeat| *repeat.get_ref());
    if repeat == 0 || repeat > MAX_REPEAT {
        return Err(Faulty::at(raw.repeat.as_ref(), format!("repeat must be from 1 to {MAX_REPEAT}")));
    }
    let script = Script {
        name: raw.name.clone(),
        title: raw.title.clone(),
        question: raw.question.clone(),
        repeat,
        fixed,
        steps,
    };
    whole(&script, raw)?;
    Ok(script)
}

/// Checks what no single step is to blame for.
fn whole(script: &Script, raw: &RawScript) -> Result<(), Faulty> {
    if script.packets() == 0 {
        return Err(Faulty::nowhere("nothing is sent: give it a [[step]] with from, send and id"));
    }
    script.fits().map_err(|what| Faulty::at(raw.repeat.as_ref(), what))?;
    let used: BTreeMap<&str, ()> = script.sends().map(|(_, sends)| (sends.id.as_str(), ())).collect();
    match script.fixed.keys().find(|name| !used.contains_key(name.as_str())) {
        Some(unused) => Err(Faulty::nowhere(format!("[id] names {unused}, which no step uses"))),
        None => Ok(()),
    }
}

fn make(raw: &Spanned<RawStep>, before: &[ScriptStep]) -> Result<ScriptStep, Faulty> {
    let step = raw.get_ref();
    match (&step.wait, &step.send) {
        (Some(wait), None) => {
            if step.sends_something() {
                return Err(Faulty::at(Some(raw), "a step that waits cannot have other keys"));
            }
            seconds(wait, 0.0, LONGEST_WAIT).map(ScriptStep::Wait)
        }
        (None, Some(packet)) => sends(raw, *packet, before).map(ScriptStep::Send),
        (Some(_), Some(_)) => Err(Faulty::at(Some(raw), "a step either waits or sends: split it into two steps")),
        (None, None) => Err(Faulty::at(Some(raw), "a step needs wait = SECONDS, or send = \"request\" or \"reply\"")),
    }
}

fn sends(raw: &Spanned<RawStep>, packet: ScriptPacket, before: &[ScriptStep]) -> Result<Sends, Faulty> {
    let step = raw.get_ref();
    let from = step.from.ok_or_else(|| Faulty::at(Some(raw), "a step that sends needs from = \"near\" or \"far\""))?;
    let id = step.id.as_ref().ok_or_else(|| Faulty::at(Some(raw), "a step that sends needs id = \"NAME\""))?;
    let quoted =
        |step: &ScriptStep| matches!(step, ScriptStep::Send(sent) if sent.id == *id.get_ref() && sent.from != from);
    if packet == ScriptPacket::Error && !before.iter().any(quoted) {
        let what =
            format!("an error quotes a packet that the other end sent before with id {}: there is none", id.get_ref());
        return Err(Faulty::at(Some(id), what));
    }
    let count = step.count.as_ref().map_or(1, |count| *count.get_ref());
    if count == 0 || usize::from(count) > MAX_PACKETS {
        return Err(Faulty::at(step.count.as_ref(), format!("count must be from 1 to {MAX_PACKETS}")));
    }
    let interval = match &step.interval {
        Some(interval) => seconds(interval, LEAST_INTERVAL, LONGEST_WAIT)?,
        None => Duration::from_millis(10),
    };
    Ok(Sends {
        from,
        packet,
        id: id.get_ref().clone(),
        seq: step.seq.unwrap_or(1),
        count,
        interval,
        size: size(step)?,
        ttl: step.ttl.unwrap_or(64),
        code: step.code.unwrap_or(0),
        source: step.source.unwrap_or_default().into(),
        destination: step.destination.unwrap_or_default(),
        expect: step.expect.unwrap_or_default(),
        role: step.role.unwrap_or_default(),
        means: step.means.as_ref().map_or_else(OutcomeMeaning::default, |means| OutcomeMeaning {
            arrives: means.arrives.clone(),
            stops: means.stops.clone(),
        }),
    })
}

fn size(step: &RawStep) -> Result<u16, Faulty> {
    let size = step.size.as_ref().map_or(56, |size| *size.get_ref());
    if usize::from(size) < MARK_BYTES || size > MAX_SIZE {
        let what = format!("size must be from {MARK_BYTES} (the mark that identifies a packet) to {MAX_SIZE}");
        return Err(Faulty::at(step.size.as_ref(), what));
    }
    Ok(size)
}

fn number(id: &Spanned<RawId>) -> Result<u16, Faulty> {
    match id.get_ref() {
        RawId::Number(number) => {
            u16::try_from(*number).map_err(|_| Faulty::at(Some(id), format!("{number} is not an id from 0 to 65535")))
        }
        RawId::Text(text) => crate::model::ids::echo_number(text).map_err(|what| Faulty::at(Some(id), what)),
    }
}

fn seconds(value: &Spanned<f64>, least: f64, most: f64) -> Result<Duration, Faulty> {
    let seconds = *value.get_ref();
    if seconds.is_finite() && (least..=most).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Faulty::at(Some(value), format!("{seconds} is not a number of seconds from {least} to {most}")))
}

#[cfg(test)]
mod tests;

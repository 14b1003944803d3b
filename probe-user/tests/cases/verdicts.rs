//! Counts in, verdict out: every file in `tests/verdicts` is a run and what must be said of it.
//!
//! With `PROBE_SHOW=1` each prints its report.

use std::{fs, path::Path};

use libtest_mimic::Trial;
use probe_user::{
    diagnosis::{Diagnosis, diagnose},
    report::{self, Format, Style},
};
use serde_json::Value;

use crate::{
    common::{fixture::Fixture, validator},
    trial::{Beside, Held, slug, trial},
};

/// Two trials for each run: its verdict, and the shape of its report.
pub(crate) fn trials() -> Vec<Trial> {
    let fixtures = fixtures();
    assert!(fixtures.len() > 60, "only {} fixtures", fixtures.len());
    let pairs = fixtures.into_iter().flat_map(|(file, fixture)| {
        let name = format!("{file}::{}", slug(&fixture.title));
        let evidence = fixture.evidence();
        let verdict = move || judged(&fixture);
        let report = move || reported(&diagnose(&evidence));
        [
            trial(format!("verdicts::{name}"), Beside::Everyone, verdict),
            trial(format!("reports::{name}"), Beside::Everyone, report),
        ]
    });
    pairs.collect()
}

fn fixtures() -> Vec<(String, Fixture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts");
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a file");
        // A file holds one run, or several that differ: each begins with its title.
        for (index, part) in split(&text).into_iter().enumerate() {
            let fixture: Fixture =
                toml::from_str(&part).unwrap_or_else(|error| panic!("{name}, run {}: {error}", index + 1));
            fixtures.push((name.clone(), fixture));
        }
    }
    fixtures.sort_by(|one, other| (&one.0, &one.1.title).cmp(&(&other.0, &other.1.title)));
    fixtures
}

fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("title =") || parts.is_empty() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.retain(|part| part.contains("title ="));
    parts
}

fn printed(diagnosis: &Diagnosis, format: Format, style: &Style) -> String {
    let mut out = Vec::new();
    report::write(&mut out, diagnosis, format, style).expect("memory takes all");
    String::from_utf8(out).expect("text")
}

/// Whether all that `want` says is so in `have`; `"leg side hop"` words stand for checkpoints.
fn compare(want: &toml::Table, have: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (field, want) in want {
        let have = match field.as_str() {
            "reason" | "function" | "program" | "detail" => have["cause"][field].clone(),
            "neighbour" => have["cause"]["neighbour"]["finding"].clone(),
            "setting" => have["cause"]["setting"]["path"].clone(),
            "hook" | "table" | "chain" => have["cause"]["netfilter"][field].clone(),
            "family" => have["cause"]["netfilter"]["family"].clone(),
            "from" => have["cause"]["icmp"]["from"].clone(),
            "last_seen" | "first_missing" | "seen_at" => {
                let at = &have[field];
                let word = |name: &str| at[name].as_str().unwrap_or("?").to_owned();
                Value::String(format!("{} {}", word("host"), word("hop")))
            }
            _ => have[field].clone(),
        };
        let want = serde_json::to_value(want).expect("plain data");
        // TOML has no null: "none" is it.
        let want = if want == "none" { Value::Null } else { want };
        if want != have {
            faults.push(format!("{field}: want {want}, have {have}"));
        }
    }
    faults
}

fn compare_list(what: &str, want: &[toml::Table], have: &Value) -> Vec<String> {
    let have = have.as_array().cloned().unwrap_or_default();
    let mut faults: Vec<String> = want.iter().zip(&have).flat_map(|(want, have)| compare(want, have)).collect();
    if want.len() != have.len() {
        faults.push(format!("{} {what}, not {}: {}", have.len(), want.len(), Value::Array(have)));
    }
    faults
}

fn faults(fixture: &Fixture, diagnosis: &Diagnosis) -> Vec<String> {
    let json: Value = serde_json::from_str(&printed(diagnosis, Format::Json, &Style::plain())).expect("JSON");
    let schema = report::schema::named("diagnosis").expect("it is known").schema;
    let expect = &fixture.expect;
    let verdict = &json["verdict"];
    let mut faults = validator::faults(&schema(), &json);
    let mut same = |what: &str, want: Option<&str>, have: &Value| {
        if want.is_some_and(|want| have != want) {
            faults.push(format!("{what}: want {want:?}, have {have}"));
        }
    };
    same("outcome", Some(&expect.outcome), &verdict["outcome"]);
    let code = u8::from(expect.outcome != "delivered");
    same("exit status", Some(&code.to_string()), &Value::String(diagnosis.exit().code().to_string()));
    same("confidence", expect.confidence.as_deref(), &verdict["confidence"]);
    same("sentence", expect.sentence.as_deref(), &verdict["sentence"]);
    faults.extend(compare_list("stops", &expect.stops, &json["stops"]));
    faults.extend(compare_list("alterations", &expect.alterations, &json["alterations"]));
    for note in &expect.notes {
        if !diagnosis.notes.contains(note) {
            faults.push(format!("no note {note:?} in {:?}", diagnosis.notes));
        }
    }
    faults
}

fn unpainted(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.filter_map(|part| part.split_once('m').map(|(_, rest)| rest)).collect::<String>()
}

/// Whether the run gets its verdict.
fn judged(fixture: &Fixture) -> Result<Held, String> {
    let diagnosis = diagnose(&fixture.evidence());
    if std::env::var_os("PROBE_SHOW").is_some() {
        let unicode = Style { unicode: true, ..Style::plain() };
        println!("---- {}\n{}", fixture.title, printed(&diagnosis, Format::Text, &unicode));
    }
    let faults = faults(fixture, &diagnosis);
    if faults.is_empty() {
        return Ok(Held::Yes);
    }
    Err(format!("{}\n    {}\n    {}", fixture.title, faults.join("\n    "), diagnosis.verdict.sentence))
}

/// Text without colour is never wider than asked for, but for commands, which are not broken; ASCII stays ASCII.
fn reported(diagnosis: &Diagnosis) -> Result<Held, String> {
    for width in [50, 72, 100] {
        let text = printed(diagnosis, Format::Text, &Style { width, ..Style::plain() });
        assert!(text.is_ascii(), "{text}");
        let painted = printed(diagnosis, Format::Text, &Style { width, colour: true, ..Style::plain() });
        assert_eq!(unpainted(&painted), text, "colour changes nothing else");
        let is_command = |line: &str| {
            diagnosis.stops.iter().flat_map(|stop| &stop.commands).any(|command| line.ends_with(&command.command))
        };
        for line in text.lines().filter(|line| !is_command(line)) {
            assert!(line.len() <= width, "{width} columns: {line}");
        }
    }
    Ok(Held::Yes)
}

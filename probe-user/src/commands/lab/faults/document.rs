//! What a run showed, as the report writes it.

use probe_ebpf::Family;

use crate::{
    lab::fault::{self, Case, CatalogueRun, Got, JudgedCase},
    report::faults::{
        Beside, DiagnosisSummary, ExpectedVerdict, FaultCase, FaultList, FaultRow, FaultsDetail, FaultsReport, LeftOut,
        summary,
    },
};

/// Builds the report of a run.
pub(super) fn of(run: CatalogueRun, seconds: f64, detail: FaultsDetail) -> FaultsReport {
    let cases: Vec<FaultCase> = run.judged.iter().map(case).collect();
    let left_out = |(case, why): (Case, String)| LeftOut { name: case.name, family: number(case.family), why };
    FaultsReport {
        located: cases.iter().filter(|case| case.located).count(),
        total: cases.len(),
        false_stops: cases.iter().filter(|case| case.false_stop).count(),
        summary: summary(&cases),
        cases,
        left_out: run.left_out.into_iter().map(left_out).collect(),
        unreached: run.unreached,
        seconds,
        detail,
    }
}

/// Lists the catalogue. The IP versions of one case share a row if they are adjacent.
pub(super) fn list(cases: &[Case]) -> FaultList {
    let mut rows: Vec<FaultRow> = Vec::new();
    for case in cases {
        match rows.iter_mut().find(|row| row.name == case.name && row.title == case.fault.title) {
            Some(row) => row.families.push(number(case.family)),
            None => rows.push(FaultRow {
                name: case.name.clone(),
                families: vec![number(case.family)],
                place: case.fault.place.name(),
                title: case.fault.title,
                expected: wanted(case),
            }),
        }
    }
    FaultList { cases: rows, beside: beside() }
}

/// Lists the faults of sockets that only their own program can cause.
fn beside() -> Vec<Beside> {
    const WHY: &str = "only a program can do that to its own socket; the library's tests cover it";
    let mut names: Vec<String> = fault::own_socket().into_iter().map(|case| case.name).collect();
    names.dedup();
    names.into_iter().map(|name| Beside { name, why: WHY }).collect()
}

fn case(judged: &JudgedCase) -> FaultCase {
    FaultCase {
        name: judged.case.name.clone(),
        family: number(judged.case.family),
        place: judged.case.fault.place.name(),
        leg: judged.case.fault.expected.has_stop().then(|| judged.case.leg.name()),
        title: judged.case.fault.title,
        expected: wanted(&judged.case),
        got: judged.got.as_ref().map(short),
        located: judged.located(),
        false_stop: judged.false_stop(),
        wrong: judged.wrong.clone(),
        first_try: judged.first_try.clone(),
        diagnosis: judged.got.as_ref().filter(|_| !judged.located()).map(|got| got.document.clone()),
        seconds: judged.got.as_ref().map_or(judged.seconds, |got| got.seconds),
    }
}

fn wanted(case: &Case) -> ExpectedVerdict {
    let expected = &case.fault.expected;
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let has_stop = expected.has_stop();
    let leg = (has_stop && !expected.any_leg).then(|| case.leg.name().to_owned());
    ExpectedVerdict {
        outcome: expected.outcomes.iter().copied().map(|outcome| outcome.name().to_owned()).collect(),
        leg: leg.into_iter().collect(),
        host: expected.sides_for(case.side()).into_iter().map(|side| side.name().to_owned()).collect(),
        layer: expected.layers.iter().copied().map(|layer| layer.name().to_owned()).collect(),
        reason: owned(expected.reasons),
        hook: owned(expected.hook.as_slice()),
        chain: owned(expected.chain.as_slice()),
        confidence: expected.confidence.name().to_owned(),
    }
}

fn short(got: &Got) -> DiagnosisSummary {
    DiagnosisSummary {
        outcome: got.outcome.name().to_owned(),
        leg: got.leg.map(|leg| leg.name().to_owned()),
        host: got.host.map(|side| side.name().to_owned()),
        layer: got.layer.map(|layer| layer.name().to_owned()),
        reason: got.reason.clone(),
        function: got.function.clone(),
        hook: got.hook.clone(),
        chain: got.chain.clone(),
        confidence: got.confidence.name().to_owned(),
    }
}

fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

//! What a run showed, as the report writes it.

use probe_ebpf::{Echo, Family};

use crate::{
    lab::fault::{self, CatalogueCase, CatalogueRun, Got, JudgedCase, Layer, LikePing, Outcome, Side},
    report::faults::{
        Beside, DiagnosisSummary, ExpectedVerdict, FaultCase, FaultList, FaultRow, FaultsDetail, FaultsReport, LeftOut,
        PingScore, summary,
    },
};

/// Builds the report of a run.
pub(super) fn of(run: CatalogueRun, seconds: f64, detail: FaultsDetail) -> FaultsReport {
    let cases: Vec<FaultCase> = run.judged.iter().map(case).collect();
    let left_out = |(case, why): (CatalogueCase, String)| LeftOut {
        name: case.name().to_owned(),
        family: number(case.family()),
        why,
    };
    FaultsReport {
        located: cases.iter().filter(|case| case.located).count(),
        total: cases.len(),
        false_stops: cases.iter().filter(|case| case.false_stop).count(),
        summary: summary(&cases),
        cases,
        left_out: run.left_out.into_iter().map(left_out).collect(),
        ping: ping_score(&run.judged),
        unreached: run.unreached,
        seconds,
        detail,
    }
}

/// Counts how ping fared; `None` if it was never run.
fn ping_score(judged: &[JudgedCase]) -> Option<PingScore> {
    let mut score = PingScore::default();
    let mut run = false;
    for judged in judged.iter().filter(|judged| judged.got.is_some()) {
        match judged.like_ping() {
            Some(LikePing::Alike) => (score.alike, score.total) = (score.alike + 1, score.total + 1),
            Some(LikePing::Different(_)) => score.total += 1,
            Some(LikePing::Apart(_)) => score.coins += 1,
            None => score.unlike += 1,
        }
        run |= judged.got.as_ref().is_some_and(|got| got.ping.is_some());
    }
    run.then_some(score)
}

/// Lists the catalogue. The IP versions of one case share a row if they are adjacent.
pub(super) fn list(cases: &[CatalogueCase]) -> FaultList {
    let mut rows: Vec<FaultRow> = Vec::new();
    for case in cases {
        match rows.iter_mut().find(|row| row.name == case.name() && row.title == case.title()) {
            Some(row) => row.families.push(number(case.family())),
            None => rows.push(FaultRow {
                name: case.name().to_owned(),
                families: vec![number(case.family())],
                place: case.place(),
                title: case.title().to_owned(),
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
        name: judged.case.name().to_owned(),
        family: number(judged.case.family()),
        place: judged.case.place(),
        leg: judged.case.has_stop().then(|| judged.case.leg().name()),
        title: judged.case.title().to_owned(),
        expected: wanted(&judged.case),
        got: judged.got.as_ref().map(short),
        located: judged.located(),
        false_stop: judged.false_stop(),
        wrong: judged.wrong.clone(),
        first_try: judged.first_try.clone(),
        diagnosis: judged.got.as_ref().filter(|_| !judged.located()).map(|got| got.document.clone()),
        ping: judged.unlike_ping(),
        seconds: judged.got.as_ref().map_or(judged.seconds, |got| got.seconds),
    }
}

fn wanted(case: &CatalogueCase) -> ExpectedVerdict {
    let wanted = case.wanted();
    fn names<T: Copy>(values: &[T], name: fn(T) -> &'static str) -> Vec<String> {
        values.iter().map(|value| name(*value).to_owned()).collect()
    }
    ExpectedVerdict {
        outcome: names(&wanted.outcomes, Outcome::name),
        leg: names(&wanted.legs, Echo::name),
        host: names(&wanted.hosts, Side::name),
        place: wanted.places,
        layer: names(&wanted.layers, Layer::name),
        reason: wanted.reasons,
        hook: wanted.hook.into_iter().collect(),
        chain: wanted.chain.into_iter().collect(),
        confidence: wanted.confidence.name().to_owned(),
    }
}

fn short(got: &Got) -> DiagnosisSummary {
    DiagnosisSummary {
        outcome: got.outcome.name().to_owned(),
        leg: got.leg.map(|leg| leg.name().to_owned()),
        host: got.host.map(|side| side.name().to_owned()),
        place: got.place.clone(),
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

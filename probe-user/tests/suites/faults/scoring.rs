//! The runner on real labs, with diagnoses that are right, wrong, and accuse everyone.

use probe_ebpf::Echo;
use probe_ebpf::Family;
use probe_user::{
    error::Failure,
    lab::{
        Topology,
        fault::{
            self, BuiltScene, Case, CaseSelection, CatalogueRun, Confidence, Diagnoser, Got, Layer, SceneCase, Side,
            choose, runner,
        },
    },
};

use super::turn;

/// Says of each case what this says.
struct Says(fn(&Case) -> Result<Got, Failure>);

impl Diagnoser for Says {
    fn diagnose(&mut self, _: &Topology, case: &Case) -> Result<Got, Failure> {
        (self.0)(case)
    }

    fn diagnose_scene(&mut self, _: &BuiltScene, _: &SceneCase) -> Result<Got, Failure> {
        Err(Failure::new("it knows rows only", ""))
    }
}

/// Exactly what the catalogue wants.
fn truth(case: &Case) -> Got {
    let expected = &case.fault.expected;
    let stop = expected.has_stop();
    Got {
        outcome: expected.outcomes[0],
        leg: stop.then_some(case.leg),
        host: expected.sides_for(case.side()).first().copied(),
        place: None,
        layer: expected.layers.first().copied(),
        reason: expected.reasons.first().map(ToString::to_string),
        function: None,
        hook: expected.hook.map(Into::into),
        chain: expected.chain.map(Into::into),
        confidence: Confidence::Certain,
        seconds: 0.0,
        document: serde_json::Value::Null,
        ping: None,
    }
}

fn accuse(case: &Case) -> Got {
    Got { leg: Some(Echo::Reply), host: Some(Side::Local), layer: Some(Layer::Socket), ..truth(case) }
}

fn run(names: &[&str], says: fn(&Case) -> Result<Got, Failure>) -> CatalogueRun {
    let choice = CaseSelection { names: names.iter().map(ToString::to_string).collect(), family: None };
    let cases = choose(fault::all(), &choice).expect("known names");
    runner::run(cases, &mut Says(says), &mut |_| (), &|| false).expect("labs")
}

#[test]
fn a_right_diagnosis_locates_everything() {
    let Some(_turn) = turn("a_right_diagnosis_locates_everything") else { return };
    let run = run(&["healthy-ttl", "peer-nft-raw", "network-every-other"], |case| Ok(truth(case)));
    assert_eq!(run.judged.len(), 8);
    let wrong: Vec<_> = run.judged.iter().filter(|judged| !judged.located()).map(|judged| &judged.wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(run.judged.iter().all(|judged| !judged.false_stop()));
}

#[test]
fn who_accuses_everyone_has_false_stops_on_healthy_paths_only() {
    let Some(_turn) = turn("who_accuses_everyone_has_false_stops_on_healthy_paths_only") else { return };
    let run = run(&["healthy-ttl", "peer-nft-raw"], |case| Ok(accuse(case)));
    let false_stops = run.judged.iter().filter(|judged| judged.false_stop());
    assert!(false_stops.map(|judged| judged.case.name()).eq(["healthy-ttl", "healthy-ttl"]));
    assert!(run.judged.iter().all(|judged| !judged.located()));
}

/// Is wrong every first time.
#[derive(Default)]
struct Wavers {
    asked: usize,
}

impl Diagnoser for Wavers {
    fn diagnose(&mut self, _: &Topology, case: &Case) -> Result<Got, Failure> {
        self.asked += 1;
        Ok(if self.asked % 2 == 1 { accuse(case) } else { truth(case) })
    }

    fn diagnose_scene(&mut self, _: &BuiltScene, _: &SceneCase) -> Result<Got, Failure> {
        Err(Failure::new("it knows rows only", ""))
    }
}

#[test]
fn a_missed_fault_has_a_second_try_that_is_told_and_a_false_stop_has_none() {
    let Some(_turn) = turn("a_missed_fault_has_a_second_try_that_is_told_and_a_false_stop_has_none") else { return };
    let judge = |name: &str| {
        let choice = CaseSelection { names: vec![name.to_owned()], family: Some(Family::V4) };
        let cases = choose(fault::all(), &choice).expect("known names");
        let run = runner::run(cases, &mut Wavers::default(), &mut |_| (), &|| false).expect("labs");
        run.judged.into_iter().next().expect("one case")
    };
    let missed = judge("peer-nft-raw");
    assert!(missed.located() && missed.first_try.iter().any(|wrong| wrong.starts_with("host is local")), "{missed:?}");
    let accused = judge("healthy-ttl");
    assert!(accused.false_stop() && accused.first_try.is_empty(), "{accused:?}");
}

#[test]
fn a_diagnosis_that_fails_is_no_location() {
    let Some(_turn) = turn("a_diagnosis_that_fails_is_no_location") else { return };
    let run = run(&["healthy-ttl"], |_| Err(Failure::new("no such verb", "")));
    assert!(run.judged.iter().all(|judged| judged.got.is_none() && judged.wrong == ["no such verb"]));
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let Some(_turn) = turn("what_a_killed_run_left_is_swept") else { return };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("proc");
    let Some(line) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) else {
        crate::common::skip("what_a_killed_run_left_is_swept", "cgroup2");
        return;
    };
    let left = std::path::Path::new(line.split(' ').nth(4).expect("a mount point")).join("probe-lab-faults-4194305");
    std::fs::create_dir(&left).expect("no process has that id");
    assert!(fault::sweep_cgroups() >= 1);
    assert!(!left.exists());
}

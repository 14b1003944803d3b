//! Runs cases one after the other: build a lab, break one thing, see that it is in force, diagnose, compare.

use std::time::Instant;

pub use super::case::lacks;
use super::{
    Broken, Case, CatalogueCase, Got, LikePing, SceneCase,
    error::FaultError,
    exchange::{expect_healthy, expect_in_force},
    like_ping,
    probe_filter::keep_mounts_private,
    scene::{BrokenScene, BuiltScene},
};
use crate::{error::Failure, lab::Topology};

/// What finds out where packets stop.
pub trait Diagnoser {
    /// Diagnoses the path from A to B in a lab that was broken as `case` says, with probes like
    /// [`super::Fault::probe`]. It must use nothing else of the case.
    ///
    /// # Errors
    /// The diagnosis failed; the case then counts as not located.
    fn diagnose(&mut self, lab: &Topology, case: &Case) -> Result<Got, Failure>;

    /// Diagnoses the path of a scene that was broken as `case` says, with those hosts watched that it names, probes like
    /// [`super::scene::SceneFault::probe`], and its flags. It must use nothing else of the case.
    ///
    /// # Errors
    /// The diagnosis failed; the case then counts as not located.
    fn diagnose_scene(&mut self, scene: &BuiltScene, case: &SceneCase) -> Result<Got, Failure>;
}

/// One case that was run.
#[derive(Clone, Debug)]
pub struct JudgedCase {
    /// The case.
    pub case: CatalogueCase,
    /// What the diagnosis said; `None` if there was no diagnosis.
    pub got: Option<Got>,
    /// Where that is wrong, or why there was no diagnosis; empty if the fault was located.
    pub wrong: Vec<String>,
    /// How long the case took, lab and all.
    pub seconds: f64,
    /// Where the diagnosis was wrong before, in another lab; empty if there was one attempt.
    pub first_try: Vec<String>,
}

impl JudgedCase {
    /// Returns whether it and the ping that was run behind it were answered alike, if one was.
    pub fn like_ping(&self) -> Option<LikePing> {
        self.got.as_ref().and_then(|got| like_ping(&self.case.wanted(), got))
    }

    /// Returns whether the diagnosis said what it must.
    pub fn located(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Returns whether a fault that was missed, or that ping met otherwise, is tried again in another lab. Other processes may
    /// have used up what all labs share with the machine, such as the kernel's ICMP socket; the retry is reported. A false stop is
    /// never retried.
    fn deserves_another(&self) -> bool {
        self.case.has_stop() && (!self.located() || self.unlike_ping().is_some())
    }

    /// Returns how the ping that was run behind it was answered otherwise, if it was.
    pub fn unlike_ping(&self) -> Option<String> {
        self.like_ping().and_then(|like| match like {
            LikePing::Different(how) => Some(how),
            LikePing::Alike | LikePing::Apart(_) => None,
        })
    }

    /// Returns whether it blames a healthy path.
    pub fn false_stop(&self) -> bool {
        !self.case.has_stop() && self.got.as_ref().is_some_and(Got::has_stop)
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct CatalogueRun {
    /// The cases that were run, in their order.
    pub judged: Vec<JudgedCase>,
    /// The cases whose fault cannot be made here, and why.
    pub left_out: Vec<(CatalogueCase, String)>,
    /// How many were not reached because the run was stopped.
    pub unreached: usize,
}

/// What the run is about to do or has done, for progress.
#[derive(Clone, Copy, Debug)]
pub enum CaseProgress<'a> {
    /// This case is next: its number from 1, of this many.
    Begins(usize, usize, &'a CatalogueCase),
    /// It is done.
    Ended(&'a JudgedCase),
    /// Its fault cannot be made here.
    Unmade,
}

/// Runs `cases`, and asks `stop` before each. The calling thread has its own mount namespace from then on.
///
/// # Errors
/// No lab can be set up at all. The failure of a single case is part of its result.
pub fn run(
    cases: Vec<impl Into<CatalogueCase>>,
    diagnose: &mut dyn Diagnoser,
    tell: &mut dyn FnMut(CaseProgress<'_>),
    stop: &dyn Fn() -> bool,
) -> Result<CatalogueRun, FaultError> {
    keep_mounts_private()?;
    let mut run = CatalogueRun::default();
    let families = Topology::build()?.families().to_vec();
    let total = cases.len();
    for (index, case) in cases.into_iter().map(Into::into).enumerate() {
        if stop() {
            run.unreached = total - index;
            break;
        }
        let no_family = (!families.contains(&case.family())).then(|| "this kernel has no IPv6".to_owned());
        if let Some(why) = no_family.map_or_else(|| case.lacks(), |why| Ok(Some(why)))? {
            run.left_out.push((case, why));
            continue;
        }
        tell(CaseProgress::Begins(index + 1, total, &case));
        let start = Instant::now();
        let lab = match make(&case)? {
            Ok(lab) => lab,
            Err(why) => {
                tell(CaseProgress::Unmade);
                run.left_out.push((case, why.to_string()));
                continue;
            }
        };
        let mut judged = judge(case, &lab, diagnose, start);
        drop(lab);
        if !stop()
            && judged.deserves_another()
            && let Ok(lab) = make(&judged.case)?
        {
            let again = judge(judged.case.clone(), &lab, diagnose, start);
            let unlike = judged.unlike_ping();
            judged = JudgedCase { first_try: judged.wrong.into_iter().chain(unlike).collect(), ..again };
        }
        if stop() {
            // The diagnosis was interrupted too, most likely: what it said is not held against it.
            run.unreached = total - index;
            break;
        }
        tell(CaseProgress::Ended(&judged));
        run.judged.push(judged);
    }
    Ok(run)
}

/// How often a fault is made before it counts as one that cannot be made here: on a busy machine the few pings that show
/// it may be late.
const TRIES: usize = 3;

/// A lab or a scene that was broken as a case says.
enum BrokenPath {
    // In this order: what holds the lab broken goes before it.
    Lab { _broken: Broken, lab: Box<Topology> },
    Scene(BrokenScene),
}

/// Makes the case's fault anew, or says why it cannot be made here.
fn make(case: &CatalogueCase) -> Result<Result<BrokenPath, FaultError>, FaultError> {
    let mut last = None;
    for _ in 0..TRIES {
        let made = match case {
            CatalogueCase::Row(case) => {
                let lab = Box::new(Topology::build()?);
                broken(&lab, case).map(|broken| BrokenPath::Lab { _broken: broken, lab })
            }
            CatalogueCase::Scene(case) => BrokenScene::of(case).map(BrokenPath::Scene),
        };
        match made {
            Ok(made) => return Ok(Ok(made)),
            Err(error @ (FaultError::NotHealthy { .. } | FaultError::NotInForce { .. })) => {
                tracing::info!("{} is set up again: {error}", case.name());
                last = Some(error);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(last.expect("there is more than one try, and each ends in a return or an error")))
}

fn judge(case: CatalogueCase, path: &BrokenPath, diagnose: &mut dyn Diagnoser, start: Instant) -> JudgedCase {
    let said = match (path, &case) {
        (BrokenPath::Lab { lab, .. }, CatalogueCase::Row(case)) => {
            diagnose.diagnose(lab, case).map(|got| (case.differences(&got), got))
        }
        (BrokenPath::Scene(scene), CatalogueCase::Scene(case)) => {
            let hosts = scene.built.inodes();
            let judged = |got: Got| {
                let got = got.in_scene(&hosts);
                (case.expected().differences(case.leg, &got), got)
            };
            diagnose.diagnose_scene(&scene.built, case).map(judged)
        }
        _ => unreachable!("a path is made from its case"),
    };
    let (got, wrong) = match said {
        Ok((wrong, got)) => (Some(got), wrong),
        Err(failure) => (None, vec![failure.error]),
    };
    JudgedCase { case, got, wrong, seconds: start.elapsed().as_secs_f64(), first_try: Vec::new() }
}

/// Breaks a healthy lab, and checks that it is broken.
///
/// # Errors
/// The lab did not answer before, could not be broken, or the fault does not show.
pub fn broken(lab: &Topology, case: &Case) -> Result<Broken, FaultError> {
    expect_healthy(lab, case.family)?;
    let broken = super::break_lab(lab, case)?;
    expect_in_force(lab, case)?;
    Ok(broken)
}

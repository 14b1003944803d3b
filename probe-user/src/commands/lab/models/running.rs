//! Models characterized as a user would: `probe characterize` on A, `probe agent` on B, several models at once.

use std::{
    io,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::Family;

use crate::{
    commands::lab::faults::by_command::{agent_on_b, last_line, own_program},
    error::Failure,
    host::child::{Finished, RunningChild},
    lab::{Topology, model::BoxModel, plan::LabHost},
    middlebox::datasheet::Datasheet,
};

/// How long a characterization may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long it may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A model over one IP version.
#[derive(Clone, Debug)]
pub(super) struct ModelCase {
    pub(super) model: BoxModel,
    pub(super) family: Family,
}

impl ModelCase {
    /// Returns the IP version: 4 or 6.
    pub(super) const fn version(&self) -> u8 {
        match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

/// How a characterization ended.
#[derive(Debug)]
pub(super) enum ModelRunEnd {
    /// With a datasheet.
    Finished(Box<ModelRunResult>),
    /// Without, for this reason.
    Failed(String),
    /// It was not started or not completed.
    Interrupted,
}

/// What was found out.
#[derive(Debug)]
pub(super) struct ModelRunResult {
    pub(super) datasheet: Datasheet,
    pub(super) seconds: f64,
}

/// Runs this program anew for each case.
pub(super) struct ModelRunner {
    program: PathBuf,
    words: Vec<String>,
}

impl ModelRunner {
    /// Creates the runner. `words` are the flags that say how much to test.
    pub(super) fn new(words: Vec<String>) -> Result<Self, Failure> {
        Ok(Self { program: own_program()?, words })
    }

    /// Characterizes all of them, `at_once` at a time, the slowest first. The results are in the order of the cases.
    pub(super) fn run_all(
        &self,
        cases: &[ModelCase],
        at_once: usize,
        report: &(dyn Fn(&ModelCase, &ModelRunEnd) + Sync),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Vec<ModelRunEnd> {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(cases[*index].model.longest));
        let next = AtomicUsize::new(0);
        let ended: Vec<Mutex<ModelRunEnd>> = cases.iter().map(|_| Mutex::new(ModelRunEnd::Interrupted)).collect();
        thread::scope(|scope| {
            for _ in 0..at_once.min(cases.len()) {
                scope.spawn(|| {
                    while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop()) {
                        let one = self
                            .run(&cases[*index], stop)
                            .unwrap_or_else(|failure| ModelRunEnd::Failed(failure.to_string()));
                        report(&cases[*index], &one);
                        *ended[*index].lock().expect("nothing panics while it is held") = one;
                    }
                });
            }
        });
        let whole = |one: Mutex<ModelRunEnd>| one.into_inner().expect("nothing panics while it is held");
        ended.into_iter().map(whole).collect()
    }

    fn run(&self, case: &ModelCase, stop: &dyn Fn() -> bool) -> Result<ModelRunEnd, Failure> {
        let built = case.model.build()?;
        if !built.topology.families().contains(&case.family) {
            return Ok(ModelRunEnd::Failed("this kernel was started without IPv6".to_owned()));
        }
        let start = Instant::now();
        let mut child = self.start(&built.topology, case)?;
        let stopped = wait(&mut child, start, stop)?;
        let Finished { stdout, stderr, .. } = child.finish().map_err(|error| not_waited_for(&error))?;
        if stopped == Stopped::OnRequest {
            return Ok(ModelRunEnd::Interrupted);
        }
        Ok(match serde_json::from_str(&stdout) {
            Ok(datasheet) => {
                ModelRunEnd::Finished(Box::new(ModelRunResult { datasheet, seconds: start.elapsed().as_secs_f64() }))
            }
            Err(_) if stdout.is_empty() => ModelRunEnd::Failed(last_line(&stderr).to_owned()),
            // A failure is a document too.
            Err(_) => ModelRunEnd::Failed(last_line(&stdout).to_owned()),
        })
    }

    fn start(&self, lab: &Topology, case: &ModelCase) -> Result<RunningChild, Failure> {
        let mut command = lab.netns(LabHost::A).command(&self.program);
        command.args(["characterize", &LabHost::B.address(case.family).to_string()]);
        command.args(["--peer", &agent_on_b(&self.program, lab), "--format", "json"]);
        command.args(["--longest", &case.model.longest.as_secs_f64().to_string()]).args(&self.words);
        RunningChild::start(&mut command, b"").map_err(|error| Failure::new(format!("cannot run probe: {error}"), ""))
    }
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    No,
    OnRequest,
}

/// Waits for the child to end. One that is stopped or hangs is asked to end, and killed if it does not.
fn wait(child: &mut RunningChild, start: Instant, stop: &dyn Fn() -> bool) -> Result<Stopped, Failure> {
    let why = || if stop() { Stopped::OnRequest } else { Stopped::No };
    if child.wait_while(|| !stop() && start.elapsed() <= LIMIT).map_err(|error| not_waited_for(&error))? {
        return Ok(why());
    }
    let stopped = why();
    child.terminate();
    let asked = Instant::now();
    if !child.wait_while(|| asked.elapsed() <= GRACE).map_err(|error| not_waited_for(&error))? {
        child.kill();
    }
    match stopped {
        Stopped::OnRequest => Ok(stopped),
        Stopped::No => Err(Failure::new(format!("it did not end within {} minutes", LIMIT.as_secs() / 60), "")),
    }
}

fn not_waited_for(error: &io::Error) -> Failure {
    Failure::new(error.to_string(), "")
}
